# What other packages make of group models: right, with a warning, or an error that says what to do. The words of
# gives(), warns() and refuses() are the table of docs/clients.md.

one <- function(formula = ~ diagnosis * age) spice_group(example_fit, formula, method = "metafor", modules = "beta")
separate <- function(formula = ~ diagnosis * age) spice_group(example_fit, formula, method = "metafor")
joint <- example_group
people <- data.frame(diagnosis = c("control", "patient"), age = 40)
the_posterior <- new.env()

bayesian <- function() {
  skip_if_no_engine()
  if (is.null(the_posterior$group)) {
    the_posterior$group <- suppressWarnings(
      spice_group(example_fit, ~diagnosis, method = "bayes_meta", chains = 2, draws = 100, tune = 100)
    )
  }
  the_posterior$group
}

same <- function(x, y, tolerance = 1e-4) expect_equal(as.numeric(x), as.numeric(y), tolerance = tolerance)

# car --------------------------------------------------------------------------------------------------------------

gives("car::Anova", "every model", "Wald F tests of terms, as `anova()`", expect_equal(verb(joint), anova(joint)))

gives("car::linearHypothesis", "joint models, one coefficient", "F tests with the model's degrees of freedom", {
  group <- one()
  found <- verb(group, names(coef(group))[2:3])
  theirs <- metafor::anova.rma(group$fit[[1]], btt = 2:3)
  expect_equal(found$F[2], theirs$QM, tolerance = 1e-6)
  expect_equal(found$`Pr(>F)`[2], theirs$QMp, tolerance = 1e-6)
})

refuses(
  c("car::linearHypothesis", "multcomp::glht"), "coefficients analysed separately",
  "analyse one, or all together: their covariance is not known", verb(separate(), "a = 0"), "separately"
)

gives("car::vif", "every model", "generalised variance inflation of each coefficient's terms", {
  group <- one(~ diagnosis + age)
  same(verb(group)[, "GVIF"], metafor::vif(group$fit[[1]])$vifs, tolerance = 1e-8)
  # a term of several columns
  wide <- one(~ cut(age, 3) + diagnosis)
  theirs <- metafor::vif(wide$fit[[1]], btt = 2:3)$vif[[1]]
  same(verb(wide)[1, ], c(theirs$vif, 2, theirs$vif^(1 / 4)), tolerance = 1e-8)
  expect_equal(nrow(verb(joint)), 4)
  expect_error(verb(one(~age)), "fewer than two", class = "spicestat_error_config")
})

gives("car::deltaMethod", "joint models, one coefficient", "functions of effects, with normal intervals", {
  found <- verb(joint, "`beta:x_value_reward:age` * 2")
  same(found$Estimate, 2 * coef(joint)[["beta:x_value_reward:age"]])
  same(found$SE, 2 * sqrt(diag(vcov(joint)))[["beta:x_value_reward:age"]])
})

gives("car::Confint", "every model", "intervals of `confint()`", same(verb(joint)[, -1], confint(joint)))

refuses(
  c("car::residualPlots", "car::outlierTest", "car::influencePlot", "car::ncvTest"), "every model",
  "they know one outcome with one variance; `augment()` has residuals, leverage and Cook's distances", verb(joint),
  "one variance"
)

# lmtest -----------------------------------------------------------------------------------------------------------

gives("lmtest::coeftest", "every model with tests", "the tests of `tidy()`", {
  expect_equal(unname(verb(joint)[, 4]), tidy(joint)$p.value)
})

gives("lmtest::coefci", "every model", "intervals of `confint()`", {
  expect_equal(verb(joint, 2:3, level = 0.9), confint(joint, level = 0.9)[2:3, ])
  expect_error(verb(joint, df = 3), class = "spicestat_error_config")
})

gives("lmtest::lrtest", "models with a likelihood", "likelihood ratio tests by maximum likelihood, as `anova()`", {
  expect_equal(verb(one(~age), one()), anova(one(~age), one()))
  expect_error(verb(joint), "compares models", class = "spicestat_error_config")
})

refuses(
  "lmtest::waldtest", "every model", "`anova()` has a Wald test of each term, `car::linearHypothesis()` of several",
  verb(joint), "linearHypothesis"
)

refuses(
  c(
    "lmtest::bptest", "lmtest::resettest", "lmtest::dwtest", "lmtest::gqtest", "lmtest::hmctest", "lmtest::bgtest",
    "lmtest::harvtest", "lmtest::raintest"
  ), "every model", "they would test a linear model of all estimates; `augment()` has residuals", verb(joint),
  "one variance"
)

refuses(
  c("lmtest::jtest", "lmtest::coxtest", "lmtest::petest"), "every model",
  "they would test a linear model of all estimates; `anova()` compares", verb(one(), one(~age)), "one variance"
)

# multcomp ---------------------------------------------------------------------------------------------------------

gives("multcomp::glht", "joint models, one coefficient", "simultaneous t tests; `mcp()` for one coefficient", {
  group <- one(~ diagnosis + age)
  found <- summary(verb(group, linfct = multcomp::mcp(diagnosis = "Tukey")))
  expect_equal(found$df, 21)
  expect_equal(as.vector(found$test$pvalues), tidy(group)$p.value[2], tolerance = 1e-4)
  expect_error(utils::capture.output(verb(joint, linfct = multcomp::mcp(diagnosis = "Tukey")), type = "message"))
})

# emmeans ----------------------------------------------------------------------------------------------------------

gives("emmeans::emmeans", "every model", "means of each coefficient by `~ covariate | coefficient`", {
  found <- as.data.frame(verb(joint, ~ diagnosis | coefficient, at = list(age = 40)))
  same(found$emmean, predict(joint, people)$.fitted)
  same(found$SE, predict(joint, people)$.se.fit)
  expect_equal(unique(found$df), 21)
})

gives("emmeans::emmeans", "Bayesian models", "medians of the posterior, with intervals of highest density", {
  found <- as.data.frame(verb(bayesian(), ~ diagnosis | coefficient))
  draws <- as.data.frame(bayesian()$draws)
  same(found$emmean[1], stats::median(draws[[3]]))
  same(found$emmean[2], stats::median(draws[[3]] + draws[[4]]))
})

warns("emmeans::emmeans", "several coefficients", "where it would average over coefficients", {
  verb(joint, ~diagnosis)
}, "mean little together")

gives("emmeans::contrast", "coefficients analysed separately", "takes them as independent, which a message says once", {
  rlang::reset_message_verbosity("spicestat_independent")
  expect_message(verb(emmeans::emmeans(separate(~diagnosis), ~ coefficient * diagnosis), "pairwise"), "independent")
  rlang::reset_message_verbosity("spicestat_independent")
  expect_no_message(emmeans::emmeans(separate(~diagnosis), pairwise ~ diagnosis | coefficient))
  expect_no_message(emmeans::emmeans(separate(~diagnosis), ~diagnosis, by = "coefficient"))
  expect_no_message(emmeans::emmeans(joint, ~ coefficient * diagnosis))
})

gives("emmeans::emtrends", "every model", "slopes of each coefficient", {
  found <- as.data.frame(verb(joint, ~coefficient, var = "age"))
  same(found$age.trend, tidy(joint)$estimate[c(3, 6)])
  same(found$SE, tidy(joint)$std.error[c(3, 6)])
})

gives("emmeans::joint_tests", "every model with tests", "tests of each coefficient by `by = \"coefficient\"`", {
  found <- as.data.frame(verb(joint, by = "coefficient"))
  same(sort(found$p.value), sort(tidy(joint)$p.value[tidy(joint)$term != "(Intercept)"]))
  within <- as.data.frame(verb(one(), by = "diagnosis"))
  slopes <- as.data.frame(emmeans::test(emmeans::emtrends(one(), ~diagnosis, var = "age")))
  expect_equal(within$p.value, slopes$p.value, tolerance = 1e-6)
})

warns("emmeans::joint_tests", "several coefficients", "where it would average over coefficients", {
  verb(joint)
}, "average over different coefficients")

refuses("emmeans::joint_tests", "every model", "what it cannot go by", {
  refused <- function(group, by, message, class = "spicestat_error_config") {
    expect_error(verb(group, by = by), message, class = class)
  }
  refused(one(), "coefficient", "has one coefficient, beta:x_value_reward")
  refused(joint, "height", "coefficient, diagnosis, age", "spicestat_error_column")
  refused(bayesian(), "coefficient", "gives no tests")
  verb(one(~age), by = "age")
}, "no covariate is left")

# insight, parameters, performance, bayestestR ---------------------------------------------------------------------

gives("insight::find_response", "every model", "`.observed`, the participants' estimates, never a covariate", {
  expect_equal(verb(joint), ".observed")
  expect_equal(insight::find_predictors(joint)$conditional, c("diagnosis", "age"))
})

gives("insight::get_data", "every model", "one row for each participant and coefficient", {
  expect_equal(verb(joint)$.observed, augment(joint)$.observed)
  expect_equal(insight::get_response(joint), verb(joint)$.observed)
})

gives("insight::get_parameters", "every model", "the effects of `coef()`", {
  expect_equal(verb(joint)$Estimate, unname(coef(joint)))
})

gives("insight::get_statistic", "every model", "the statistics of `tidy()`", {
  expect_equal(verb(joint)$Statistic, tidy(joint)$statistic)
})

gives("insight::get_varcov", "every model", "the covariance of `vcov()`", expect_equal(verb(joint), vcov(joint)))

gives("insight::get_df", "every model with tests", "the smallest degrees of freedom", {
  expect_equal(verb(joint), df.residual(joint))
  # as Satterthwaite's are, with random parts
  joint$coefficients$df[2] <- 12.5
  expect_equal(verb(joint), 12.5)
})

gives("insight::get_intercept", "every model", "the intercept of each coefficient", {
  expect_equal(unname(verb(joint)), unname(coef(joint)[c(1, 4)]))
  expect_length(verb(one(~ 0 + diagnosis)), 0)
})

gives("insight::model_info", "every model", "family and link", {
  expect_true(verb(joint)$is_linear)
  expect_equal(insight::n_obs(joint), 24)
})

gives("insight::link_inverse", "coefficients with one link", "that link", {
  expect_equal(verb(joint)(2), 2)
  linked <- joint
  linked$links <- list(beta = "log")
  expect_error(verb(linked), "differ in their links", class = "spicestat_error_config")
})

gives(c("insight::is_converged", "performance::check_convergence"), "every model", "whether all models converged", {
  expect_true(verb(joint))
  doubtful <- joint
  doubtful$glance$converged <- FALSE
  expect_false(verb(doubtful))
})

refuses(
  "insight::get_predicted", "every model", "`predict()` has a value of each coefficient", verb(joint), "predict\\("
)

refuses("insight::get_deviance", "every model", "`logLik()` has the likelihood", verb(joint), "logLik")

refuses(
  "insight::ellipsis_info", "every model", "`anova()` compares", verb(one(), one(~age)), "anova\\(group, other\\)"
)

gives("parameters::model_parameters", "every model", "effects, intervals and tests, a block for each coefficient", {
  expect_equal(verb(joint)$p, tidy(joint)$p.value)
  expect_equal(verb(joint)$df_error, tidy(joint)$df)
})

gives("parameters::standard_error", "every model", "standard errors of `tidy()`", {
  expect_equal(verb(joint)$SE, tidy(joint)$std.error)
})

refuses(
  "parameters::standardize_parameters", "every model", "`spice_standardised()` has standardised effects", verb(joint),
  "spice_standardised"
)

refuses(
  c("bayestestR::equivalence_test", "bayestestR::rope"), "every model", "there is no region for all coefficients",
  verb(joint), "region"
)

refuses(
  "bayestestR::bayesfactor_models", "models by restricted likelihood", "`anova()` compares by maximum likelihood",
  verb(one(), one(~age)), "restricted"
)

gives("performance::model_performance", "models with a likelihood", "AIC, BIC, participants, convergence", {
  expect_equal(verb(joint)$AIC, AIC(joint))
})

gives("performance::check_singularity", "every model", "whether a standard deviation between participants is 0", {
  expect_false(verb(joint))
  flat <- joint
  flat$coefficients$estimate[flat$coefficients$effect == "ran_pars"][[1]] <- 0
  expect_true(verb(flat))
})

refuses("performance::r2", "every model", "none is defined; `sigma()` of models with and without", verb(joint), "R2")

refuses(
  c("performance::compare_performance", "performance::test_performance"), "every model", "`anova()` compares",
  verb(one(), one(~age)), "anova"
)

refuses(
  c(
    "performance::check_model", "performance::check_collinearity", "performance::check_heteroscedasticity",
    "performance::check_homogeneity", "performance::check_normality", "performance::check_outliers",
    "performance::check_autocorrelation", "performance::check_predictions", "performance::performance_mae",
    "performance::performance_mse"
  ), "every model", "they know one outcome with one variance; `augment()` and `car::vif()`", verb(joint), "one variance"
)

# ggeffects --------------------------------------------------------------------------------------------------------

gives("ggeffects::ggemmeans", "one coefficient", "its means", {
  expect_equal(verb(one(~diagnosis), "diagnosis")$predicted, predict(one(~diagnosis), people)$.fitted, tolerance = 1e-6)
  # easystats drops arguments with a NULL in them
  expect_false(any(vapply(one(), is.null, NA)))
})

refuses("ggeffects::ggemmeans", "several coefficients", "it averages over none; the error is printed", {
  said <- utils::capture.output(nothing <- verb(separate(), "diagnosis"))
  if (is.null(nothing)) stop(said)
}, "average over different coefficients")

gives("ggeffects::predict_response", "every model", "means of each coefficient, by `margin = \"empirical\"`", {
  skip_if_not_installed("marginaleffects")
  found <- as.data.frame(verb(joint, "diagnosis", margin = "empirical"))
  means <- as.data.frame(emmeans::emmeans(joint, ~ diagnosis | coefficient))
  same(sort(found$predicted), sort(means$emmean), tolerance = 0.01)
  expect_error(verb(joint, "diagnosis"), "predict\\(", class = "spicestat_error_config")
})

refuses(
  "ggeffects::ggpredict", "every model", "it gives one value for each row", verb(joint, "diagnosis"), "predict\\("
)

# posterior, bayesplot, loo ----------------------------------------------------------------------------------------

gives("posterior::as_draws", "Bayesian models", "draws by chain: effects, standard deviations, correlations", {
  draws <- verb(bayesian())
  expect_equal(posterior::nchains(draws), 2)
  expect_equal(posterior::variables(draws)[1:4], names(coef(bayesian())))
  expect_equal(unname(colMeans(as.data.frame(draws)[1:4])), unname(coef(bayesian())), tolerance = 1e-8)
  expect_equal(dim(posterior::as_draws_array(bayesian())), c(100, 2, 7))
  narrow <- tidy(bayesian(), conf.int = TRUE, conf.level = 0.5)
  ends <- stats::quantile(as.data.frame(draws)[[1]], c(0.25, 0.75), names = FALSE)
  expect_equal(c(narrow$conf.low[1], narrow$conf.high[1]), ends)
})

gives("posterior::summarise_draws", "Bayesian models", "Rhat and effective sample sizes", {
  same(verb(bayesian())$mean[1:4], coef(bayesian()), tolerance = 1e-8)
})

refuses("posterior::as_draws", "other models", "they draw nothing", verb(joint), "draws nothing")

gives("bayesplot::mcmc_areas", "Bayesian models", "a plot of `posterior::as_draws_array()`", {
  expect_s3_class(verb(posterior::as_draws_array(bayesian())), "ggplot")
})

gives("loo::loo", "Bayesian models", "expected log density of participants left out", {
  expect_equal(nrow(suppressWarnings(verb(bayesian()))$pointwise), 24)
  expect_error(anova(bayesian()), "gives no tests", class = "spicestat_error_config")
})

# marginaleffects --------------------------------------------------------------------------------------------------

gives("marginaleffects::predictions", "every model", "of each coefficient, which `group` names, with standard errors", {
  datagrid <- getExportedValue("marginaleffects", "datagrid")
  group <- separate()
  expected <- predict(group, people)
  found <- as.data.frame(verb(group, newdata = datagrid(model = group, diagnosis = people$diagnosis, age = 40)))
  found <- found[order(match(found$group, c("x_learning_rate_reward:1", "beta:x_value_reward")), found$diagnosis), ]
  same(found$estimate, expected$.fitted)
  same(found$std.error, expected$.se.fit)
})

gives("marginaleffects::avg_slopes", "every model", "slopes within groups, as `emmeans::emtrends()`", {
  slopes <- as.data.frame(verb(separate(), variables = "age", by = c("group", "diagnosis")))
  trends <- as.data.frame(emmeans::emtrends(separate(), ~ diagnosis | coefficient, var = "age"))
  key <- function(coefficient, diagnosis) paste(coefficient, diagnosis)
  at <- match(key(trends$coefficient, trends$diagnosis), key(slopes$group, slopes$diagnosis))
  same(slopes$estimate[at], trends$age.trend)
  # marginaleffects differentiates numerically
  same(slopes$std.error[at], trends$SE, tolerance = 1e-3)
})

gives("marginaleffects::avg_comparisons", "every model", "differences between groups, with normal tests", {
  difference <- as.data.frame(verb(joint, variables = "diagnosis"))
  effect <- tidy(joint)[tidy(joint)$term == "diagnosispatient", ]
  at <- match(paste(effect$component, effect$sparse.term, sep = ":"), difference$group)
  same(difference$estimate[at], effect$estimate)
  same(difference$std.error[at], effect$std.error)
})

gives("marginaleffects::hypotheses", "every model", "functions of effects; joint tests with `df =`", {
  double <- as.data.frame(verb(joint, "`beta:x_value_reward:age` * 2 = 0"))
  same(double$estimate, 2 * coef(joint)[["beta:x_value_reward:age"]])
  same(double$std.error, 2 * sqrt(vcov(joint)["beta:x_value_reward:age", "beta:x_value_reward:age"]))
  skip_if_not_installed("car")
  both <- as.data.frame(verb(joint, joint = 2:3, df = c(2, df.residual(joint))))
  same(both$p.value, car::linearHypothesis(joint, names(coef(joint))[2:3])$`Pr(>F)`[2])
  same(as.data.frame(verb(one(), joint = 2:3))$df2, df.residual(one()))
})

refuses("marginaleffects::hypotheses", "several coefficients", "joint tests without `df =`: it would count rows", {
  verb(joint, joint = 2:3)
}, "degrees of freedom")

test_that("marginaleffects is given coefficients, their covariance and predictions", {
  skip_if_not_installed("metafor")
  group <- separate()
  expect_equal(get_coef.spice_group(group), coef(group))
  again <- set_coef.spice_group(group, coef(group) + 1)
  expect_equal(coef(again), coef(group) + 1)
  found <- get_predict.spice_group(group, example_fit$people)
  expect_equal(found$estimate, fitted(group)$.fitted)
  expect_equal(unique(found$group), c("x_learning_rate_reward:1", "beta:x_value_reward"))
  expect_equal(get_predict.spice_group(joint)$rowid, rep(1:24, 2))
  rlang::reset_message_verbosity("spicestat_independent")
  expect_message(covariance <- get_vcov.spice_group(group), "independent")
  expect_equal(covariance[1:4, 1:4], vcov(group)[1:4, 1:4])
  expect_true(all(covariance[1:4, 5:8] == 0))
  expect_null(get_vcov.spice_group(group, FALSE))
  expect_error(get_vcov.spice_group(group, "HC3"), class = "spicestat_error_config")
  counted <- function(df = NULL) {
    joint_index <- 1:2
    joint_test <- "f"
    get_vcov.spice_group(joint)
  }
  expect_error(counted(), "degrees of freedom", class = "spicestat_error_config")
  expect_equal(counted(c(2, 21)), vcov(joint))
  expect_true("spice_group" %in% getOption("marginaleffects_model_classes"))
})

# broom.helpers ----------------------------------------------------------------------------------------------------

gives("broom.helpers::tidy_plus_plus", "every model", "terms, labels and reference rows; numbers of participants", {
  plus <- verb(one(~ diagnosis + age))
  expect_equal(plus$variable, c("diagnosis", "diagnosis", "age"))
  same(plus$n_obs, c(12, 12, 24))
  same(verb(joint)$n_obs, c(12, 12, 24, 12, 12, 24))
})

gives("broom.helpers::tidy_with_broom_or_parameters", "every model", "unique terms, by `term = \"full\"`", {
  table <- verb(joint, term = "full")
  expect_equal(anyDuplicated(table$term), 0)
  expect_equal(table$estimate, unname(coef(joint)))
})
