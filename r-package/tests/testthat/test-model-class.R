separate <- function(formula = ~ diagnosis * age, ...) spice_group(example_fit, formula, method = "metafor", ...)

test_that("the response is the coefficient, and the design gives the fitted values", {
  frame <- model.frame(example_group)
  expect_equal(names(frame), c(".observed", "diagnosis", "age", "(coefficient)", "(participant)"))
  expect_equal(frame$.observed, augment(example_group)$.observed)
  expect_equal(all.vars(terms(example_group))[attr(terms(example_group), "response")], ".observed")
  expect_equal(formula(example_group), ~ diagnosis + age, ignore_attr = TRUE)
  X <- model.matrix(example_group) # nolint: object_name_linter.
  expect_equal(colnames(X), names(coef(example_group)))
  expect_equal(as.vector(X %*% coef(example_group)), fitted(example_group)$.fitted)
  expect_error(model.frame(example_group, data = 1), class = "spicestat_error_config")
})

test_that("anova() has the tests of metafor for each term and coefficient", {
  skip_if_not_installed("metafor")
  group <- separate(~ cut(age, 3) + diagnosis)
  table <- anova(group)
  expect_equal(nrow(table), 4)
  theirs <- metafor::anova.rma(group$fit[[2]], btt = 2:3)
  expect_equal(c(table[3, "F value"], table[3, "Pr(>F)"]), c(theirs$QM, theirs$QMp), tolerance = 1e-8)
  single <- tidy(group)
  expect_equal(table[4, "Pr(>F)"], single$p.value[single$term == "diagnosispatient"][2])
  expect_equal(names(suppressWarnings(broom::tidy(table)))[1], "term")
  group$glance$withheld <- TRUE
  group$coefficients$p_value <- NA_real_
  expect_true(all(is.na(anova(group)$`Pr(>F)`)))
})

test_that("models are compared by maximum likelihood, coefficient by coefficient where they were analysed so", {
  skip_if_not_installed("metafor")
  larger <- separate()
  smaller <- update(larger, . ~ . - diagnosis:age)
  table <- anova(smaller, larger)
  expect_equal(rownames(table)[c(2, 4)], c("x_learning_rate_reward:1 2", "beta:x_value_reward 2"))
  ml <- lapply(list(larger$fit[[2]], smaller$fit[[2]]), function(fit) update(fit, method = "ML"))
  theirs <- suppressWarnings(metafor::anova.rma(ml[[1]], ml[[2]]))
  expect_equal(table[4, "Chisq"], theirs$LRT, tolerance = 1e-5)
  expect_equal(table[4, "Pr(>Chisq)"], theirs$pval, tolerance = 1e-5)
  expect_error(extractAIC(larger), "separately", class = "spicestat_error_config")
  expect_error(anova(larger, separate(~age, modules = "beta")), "do not compare", class = "spicestat_error_config")
  expect_error(anova(larger, 1), class = "spicestat_error_config")
})

test_that("drop1() and step() choose by maximum likelihood", {
  skip_if_not_installed("metafor")
  group <- separate(modules = "beta")
  ml <- update(group$fit[[1]], method = "ML")
  expect_equal(extractAIC(group), c(5, stats::AIC(ml)), tolerance = 1e-6)
  expect_equal(rownames(drop1(group)), c("<none>", "diagnosis:age"))
  smaller <- extractAIC(update(group, . ~ . - diagnosis:age))[2]
  expect_equal(drop1(group)$AIC, c(extractAIC(group)[2], smaller))
  nothing <- separate(~1, modules = "beta")
  best <- if (extractAIC(nothing)[2] < extractAIC(separate(~age, modules = "beta"))[2]) character() else "age"
  expect_equal(attr(terms(step(separate(~age, modules = "beta"), trace = 0)), "term.labels"), best)
  # where the data are gone, an error says what to do
  local({
    people <- example_fit$people
    group <<- spice_group(example_fit, ~age, people, "metafor", modules = "beta")
  })
  expect_error(extractAIC(group), "estimator = \"ML\"", class = "spicestat_error_config")
})

test_that("simulated estimates have the means and the spread of the model", {
  skip_if_not_installed("metafor")
  group <- separate(~diagnosis)
  draws <- simulate(group, 400, seed = 1)
  expect_identical(draws, simulate(group, 400, seed = 1))
  table <- augment(group)
  centred <- as.matrix(draws) - table$.fitted
  expect_lt(max(abs(rowMeans(centred)) / apply(centred, 1, stats::sd)), 4.5 / sqrt(400))
  spread <- sqrt(sigma(group)[["beta:x_value_reward"]]^2 + table$std.error^2)[table$component == "beta"]
  ratio <- apply(centred[table$component == "beta", ], 1, stats::sd) / spread
  # a standard deviation of 400 draws has a relative error of 3.5 %
  expect_lt(max(abs(ratio - 1)), 0.15)
})

test_that("augment() takes other people, and columns that the formula does not use", {
  new <- data.frame(diagnosis = "patient", age = 30)
  expect_equal(augment(example_group, newdata = new)$.fitted, predict(example_group, new)$.fitted)
  data <- data.frame(participant = rev(example_fit$people$participant), site = 1:24)
  table <- augment(example_group, data)
  expect_equal(names(table)[1:3], c("participant", "site", "component"))
  expect_equal(table$site[1:24], 24:1)
  expect_error(augment(example_group, data[-1, ]), "lacks participants", class = "spicestat_error_data")
  expect_error(augment(example_group, data, new), class = "spicestat_error_config")
})

test_that("there is one row at a glance, and one for each coefficient on demand", {
  skip_if_not_installed("metafor")
  group <- separate(~diagnosis)
  row <- glance(group)
  expect_equal(nrow(row), 1)
  each <- glance(group, each = TRUE)
  expect_equal(each$component, c("x_learning_rate_reward", "beta"))
  expect_equal(row$logLik, sum(each$logLik))
  expect_equal(c(row$AIC, row$BIC), c(AIC(group), BIC(group)))
  expect_true(is.na(row$tau.squared))
  expect_setequal(names(row), names(each))
  expect_error(glance(group, each = 2), class = "spicestat_error_config")
})

test_that("terms are unique on demand, as tables of several models need them", {
  full <- tidy(example_group, conf.int = TRUE, term = "full")
  expect_equal(full$term, names(coef(example_group)))
  # the contract of modelsummary and broom.helpers
  expect_true(all(c("term", "estimate", "std.error", "statistic", "p.value", "conf.low", "conf.high") %in% names(full)))
  people <- tidy(example_group, effects = c("fixed", "ran_pars", "ran_vals"), term = "full")
  expect_equal(anyDuplicated(people$term), 0)
  expect_error(tidy(example_group, term = "short"), class = "spicestat_error_config")
})

test_that("anova(across = TRUE) tests terms for all coefficients together, as Hotelling and Lawley do", {
  group <- update(example_group, ~ diagnosis * age)
  table <- anova(group, across = TRUE)
  expect_equal(rownames(table), c("diagnosis", "age", "diagnosis:age"))
  # of one effect the test is exact: stats::summary.manova(), with covariances as of multivariate least squares
  outcomes <- vapply(split(augment(group)$.observed, augment(group)$sparse.term), identity, numeric(24))
  X <- model.matrix(group) # nolint: object_name_linter.
  X <- X[seq_len(24), seq_len(4)] # nolint: object_name_linter.
  exact <- lm(outcomes ~ X - 1)
  names <- labelled_effects(tidy(group))
  group$joint_covariance[names, names] <- vcov(exact)
  group$coefficients$estimate[seq_along(names)] <- as.vector(coef(exact))
  group$coefficients$df <- 20
  theirs <- summary(manova(outcomes ~ X[, 2] + X[, 3] + X[, 4]), test = "Hotelling-Lawley")$stats
  expect_equal(anova(group, across = TRUE)[3, "F value"], theirs[3, "approx F"], tolerance = 1e-6)
  expect_equal(anova(group, across = TRUE)[3, "Pr(>F)"], theirs[3, "Pr(>F)"], tolerance = 1e-6)
  expect_error(anova(group, group, across = TRUE), "one model", class = "spicestat_error_config")
  group$joint_covariance <- NULL
  expect_error(anova(group, across = TRUE), "no covariance", class = "spicestat_error_config")
})
