# Formulas mean later what they meant at the fit, arguments are never ignored, and packages for linear models get the
# right degrees of freedom or a refusal.

fit_of <- function(formula, method = "metafor", ...) {
  data <- cohort()
  spice_group(data$table, formula, data = data$people, method = method, participant = id, ...)
}

test_that("predictions use the variables and functions of the formula as they were", {
  skip_if_not_installed("metafor")
  made <- local({
    k <- 10
    squared <- function(x) x^2
    group <- fit_of(~ I(age / k) + squared(age) + ill)
    k <- 1000
    group
  })
  k <- 77
  found <- predict(made, data.frame(age = 40, ill = "yes"))$.fitted
  effects <- matrix(coef(made), nrow = 2, byrow = TRUE)
  expect_equal(found, as.vector(effects %*% c(1, 4, 1600, 1)))
  expect_equal(predict(made)$.fitted, augment(made)$.fitted, tolerance = 1e-8)
  expect_equal(model.frame(made)[[2]], augment(made)$age / 10, ignore_attr = TRUE)
  file <- tempfile(fileext = ".rds")
  on.exit(unlink(file))
  saveRDS(made, file)
  expect_equal(predict(readRDS(file), data.frame(age = 40, ill = "yes"))$.fitted, found)
  skip_if_not_installed("emmeans")
  means <- summary(emmeans::emmeans(made, ~ ill | coefficient, at = list(age = 40)))
  expect_equal(means$emmean[means$ill == "yes"], found, tolerance = 1e-8)
  changed <- update(made, . ~ . - ill, evaluate = FALSE)
  expect_equal(get("k", environment(changed$formula)), 10)
})

test_that("update() takes formulas with a dot on the left, and no other left-hand side", {
  skip_if_not_installed("metafor")
  data <- cohort()
  group <- spice_group(data$table, ~ ill + age, data = data$people, method = "metafor", participant = id)
  less <- update(group, . ~ . - age)
  expect_equal(coef(less), coef(spice_group(data$table, ~ill, data$people, "metafor", participant = id)))
  expect_equal(coef(update(group, ~ . - age)), coef(less))
  expect_error(update(group, y ~ . - age), class = "spicestat_error_formula", regexp = "left-hand side")
})

test_that("arguments that a method does not have are errors, with the one that was meant", {
  skip_if_not_installed("metafor")
  group <- fit_of(~ ill + age)
  refused <- function(code, words) expect_error(code, class = "spicestat_error_config", regexp = words)
  refused(tidy(group, conf_int = TRUE), "Did you mean `conf.int`")
  refused(tidy(group, conf.lvl = 0.9), "Did you mean `conf.level`")
  refused(tidy(example_fit, conf_int = TRUE), "Did you mean `conf.int`")
  refused(augment(group, new_data = data.frame(age = 1)), "Did you mean `newdata`")
  refused(augment(group, NULL, NULL, data.frame(age = 1)), "too many arguments")
  refused(predict(group, intervall = "prediction"), "Did you mean `interval`")
  refused(predict(example_fit, se.fit = TRUE), "no argument `se.fit`")
  refused(ranef(group, condVar = "yes"), "TRUE or FALSE")
  refused(ranef(group, drop = TRUE), "drop")
  refused(VarCorr(group, sigma = 2), "sigma")
  refused(print(group, digitss = 2), "Did you mean `digits`")
  refused(print(group, digits = 0), "from 1 to 15")
  refused(autoplot(group, typo = 1), "typo")
  refused(glance(group, type = 1), "type")
  refused(fitted(group, type = "link"), "type")
  refused(residuals(group, type = "pearson"), "type")
  refused(confint(group, conf.level = 0.9), "conf.level")
  refused(simulate(example_fit, n_trial = 3, nsims = 2), "nsim")
  expect_equal(nobs(group, use.fallback = TRUE), nobs(group))
  expect_equal(dim(data.frame(group)), dim(tidy(group)))
})

test_that("every method with dots checks or passes them on", {
  namespace <- asNamespace("spicestat")
  table <- getNamespaceInfo("spicestat", "S3methods")
  names <- unique(table[, 3])
  # these pass their dots on, take models by them, get them from other packages, or refuse whatever is asked
  passing <- c(
    "print", "plot", "as_tibble", "as.data.frame", "recover_data", "emm_basis", "linearHypothesis", "modelparm",
    "update", "add1", "drop1", "anova", "lrtest", "waldtest", "loo", "performance_aic", "r2", "link_function",
    "link_inverse", "model_info", "find_formula", "get_data", "get_statistic", "get_varcov", "get_df",
    "get_loglikelihood", "get_predicted", "get_deviance", "ellipsis_info", "bayesfactor_models",
    grep("^refused_", names, value = TRUE)
  )
  for (name in names[!sub("\\.spice_.*", "", names) %in% passing]) {
    method <- get(name, namespace)
    if ("..." %in% names(formals(method))) {
      expect_true("check_dots" %in% all.names(body(method)), label = name)
    }
  }
})

test_that("print() has the digits that it is asked for", {
  skip_if_not_installed("metafor")
  group <- fit_of(~age)
  expect_match(paste(format(group, digits = 6), collapse = "\n"), formatC(coef(group)[[1]], digits = 6, format = "fg"))
  expect_false(identical(format(group), format(group, digits = 6)))
  expect_false(identical(format(example_fit), format(example_fit, digits = 6)))
})

test_that("standard errors are left out on demand", {
  expect_false(".se.fit" %in% names(predict(example_group, se.fit = FALSE)))
})

test_that("exponentials are for effects on log odds and logarithms", {
  skip_if_not_installed("metafor")
  group <- fit_of(~age)
  expect_error(tidy(group, exponentiate = TRUE), class = "spicestat_error_config", regexp = "x_rate:1")
  group$links <- list(beta = "log", x_rate = "logit")
  plain <- tidy(group, conf.int = TRUE)
  found <- tidy(group, conf.int = TRUE, exponentiate = TRUE)
  shown <- c("estimate", "conf.low", "conf.high")
  expect_equal(found[shown], exp(plain[shown]), ignore_attr = TRUE)
  expect_equal(found$p.value, plain$p.value)
})

test_that("levels out of range are refused with the one that was meant", {
  skip_if_not_installed("metafor")
  data <- cohort()
  group <- fit_of(~age)
  for (level in list(95, 0, 1, -1, NA_real_, "0.95", TRUE, c(0.9, 0.95), Inf)) {
    for (code in list(
      quote(tidy(group, conf.level = level)), quote(confint(group, level = level)),
      quote(confint(example_fit, level = level)),
      quote(tidy(example_fit, conf.level = level)), quote(predict(group, conf.level = level)),
      quote(autoplot(group, conf.level = level)), quote(fit_of(~age, conf_level = level)),
      quote(fit_of(~age, "meta", conf_level = level))
    )) {
      error <- tryCatch(eval(code), error = identity)
      expect_s3_class(error, "spicestat_error_config")
      if (identical(level, 95)) expect_match(conditionMessage(error), "Did you mean 0.95")
    }
  }
  expect_error(fit_of(~age, max_unidentified = 40), class = "spicestat_error_config", regexp = "Did you mean 0.4")
})

test_that("intervals at the level of the analysis are the method's own, and others are not made up", {
  group <- example_group
  fixed <- group$coefficients$effect == "fixed"
  # as the quantiles of a skewed posterior
  group$coefficients$conf_high[fixed] <- group$coefficients$conf_high[fixed] + 0.1
  expect_equal(tidy(group, conf.int = TRUE, conf.level = 0.95), tidy(group, conf.int = TRUE))
  expect_equal(confint(group, level = 0.95), confint(group))
  expect_error(tidy(group, conf.int = TRUE, conf.level = 0.9), class = "spicestat_error_config", regexp = "conf_level")
  narrow <- tidy(example_group, conf.int = TRUE, conf.level = 0.5)
  expect_true(all(narrow$conf.high < tidy(example_group, conf.int = TRUE)$conf.high))
})

test_that("degrees of freedom are the tests', or there are none", {
  skip_if_not_installed("metafor")
  group <- fit_of(~ ill + age)
  expect_equal(df.residual(group), 37)
  posterior <- group
  posterior$coefficients$p_value <- NA_real_
  expect_error(df.residual(posterior), class = "spicestat_error_config", regexp = "no tests")
  differing <- group
  differing$coefficients$df[1] <- 12
  expect_error(df.residual(differing), class = "spicestat_error_config", regexp = "degrees of freedom of their own")
})

test_that("lmtest, car and multcomp use t and F, for all coefficients", {
  skip_if_not_installed("metafor")
  skip_if_not_installed("lmtest")
  group <- fit_of(~ ill + age)
  expect_equal(unname(lmtest::coeftest(group)[, 4]), tidy(group)$p.value, tolerance = 1e-10)
  one <- fit_of(~ ill + age, modules = "beta")
  p <- tidy(one)$p.value[3]
  skip_if_not_installed("car")
  expect_equal(car::linearHypothesis(one, "beta:v:age = 0")[2, "Pr(>F)"], p, tolerance = 1e-10)
  expect_error(car::linearHypothesis(group, "beta:v:age = 0"), class = "spicestat_error_config", regexp = "anova")
  expect_equal(car::Anova(group), anova(group))
  skip_if_not_installed("multcomp")
  tested <- summary(multcomp::glht(one, linfct = rbind(age = c(0, 0, 1))))
  expect_equal(tested$test$pvalues[[1]], p, tolerance = 1e-6)
  expect_error(multcomp::glht(group, linfct = diag(6)), class = "spicestat_error_config", regexp = "anova")
})

test_that("joint_tests() says when it averages over coefficients, and tests each term where it does not", {
  skip_if_not_installed("metafor")
  skip_if_not_installed("emmeans")
  group <- fit_of(~ ill + age)
  expect_warning(emmeans::joint_tests(group), class = "spicestat_warning_averaged", regexp = "by = \"coefficient\"")
  expect_no_warning(tests <- as.data.frame(emmeans::joint_tests(group, by = "coefficient")))
  expect_equal(tests$p.value, tidy(group)$p.value[c(2, 5, 3, 6)], tolerance = 1e-6)
})

test_that("LaTeX and text are not broken by ids and names from the data", {
  fit <- example_fit
  id <- fit$coefficients$participant[[1]]
  fit$coefficients$participant[fit$coefficients$participant == id] <- "a\n\\input{secret} % b"
  for (format in c("latex", "text")) {
    lines <- format(equations(fit, "a\n\\input{secret} % b", format = format))
    expect_false(any(grepl("\n", lines)))
    expect_false(any(grepl("\\input", sub("^% .*", "", lines), fixed = TRUE)) && format == "latex")
  }
  expect_equal(latex_name("x_a_b$%"), "a b\\$\\%")
})

test_that("covariates of any name have the tables of a plain one, or are refused with the remedy", {
  skip_if_not_installed("metafor")
  skip_if_not_installed("emmeans")
  data <- cohort()
  table <- data$table
  covariates <- data$people
  of <- function(name) {
    names(covariates)[3] <<- name
    formula <- eval(call("~", call("+", as.name(name), quote(ill))))
    spice_group(table, formula, data = covariates, method = "metafor", participant = id)
  }
  less <- function(group) unname(coef(update(group, . ~ . - ill)))
  plain <- of("plain")
  without <- less(plain)
  names <- c("BDI total", "100%", "Intercept", "I", "C", "log", "a-b", "a:b", "a`b", "a\nb", "gr\u00f6\u00dfe", "TRUE")
  for (name in names) {
    odd <- of(name)
    new <- stats::setNames(data.frame(40, "yes"), c(name, "ill"))
    expect_equal(unname(coef(odd)), unname(coef(plain)), label = name)
    expect_equal(predict(odd, new)$.fitted, predict(plain, data.frame(plain = 40, ill = "yes"))$.fitted, label = name)
    expect_equal(augment(odd)$.fitted, augment(plain)$.fitted, label = name)
    expect_equal(less(odd), without, label = name)
    means <- function(group) summary(emmeans::emmeans(group, ~ ill | coefficient))$emmean
    expect_equal(means(odd), means(plain), label = name)
  }
  for (name in c("cost $US$", "1")) {
    odd <- of(name)
    expect_equal(unname(coef(odd)), unname(coef(plain)))
    # emmeans() prints this error and then gives one of its own
    expect_error(emmeans::recover_data(odd), class = "spicestat_error_covariate", regexp = "rename the column")
  }
})

test_that("the engine takes covariates of any name", {
  skip_if_no_engine()
  data <- cohort()
  of <- function(name) {
    names(data$people)[3] <- name
    formula <- eval(call("~", call("+", as.name(name), quote(ill))))
    spice_group(data$table, formula, data$people, "meta", participant = id)
  }
  plain <- of("plain")
  for (name in c("BDI total", "100%", "cost $US$", "Intercept", "1", "I", "a.b", "x_dot_y", "a`b", "a\\b", "a\nb")) {
    odd <- of(name)
    new <- stats::setNames(data.frame(40, "yes"), c(name, "ill"))
    expect_equal(tidy(odd)$term[2], colnames(model.matrix(formula(odd), model_data(odd)))[2])
    expect_equal(unname(coef(odd)), unname(coef(plain)), label = name)
    expect_equal(predict(odd, new)$.fitted, predict(plain, data.frame(plain = 40, ill = "yes"))$.fitted, label = name)
    expect_true(name %in% names(augment(odd)))
  }
})
