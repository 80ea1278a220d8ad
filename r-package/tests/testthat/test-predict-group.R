test_that("fitted and residuals are those of augment, by coefficient", {
  table <- augment(example_group)
  fitted <- fitted(example_group)
  expect_s3_class(fitted, "tbl_df")
  expect_equal(names(fitted), c("participant", "component", "sparse.term", ".fitted"))
  expect_equal(fitted$.fitted, table$.fitted)
  expect_equal(residuals(example_group)$.resid, table$.observed - table$.fitted)
})

test_that("the participants' own predictions are their fitted values", {
  table <- predict(example_group)
  expect_equal(table$.fitted, fitted(example_group)$.fitted, tolerance = 1e-8)
  expect_equal(table$.se.fit, augment(example_group)$.se.fit, tolerance = 1e-6)
})

test_that("new people get the expected coefficient with its interval", {
  people <- data.frame(id = c("a", "b"), diagnosis = c("control", "patient"), age = c(30, 40))
  table <- predict(example_group, people)
  expect_equal(names(table), c(
    "id", "diagnosis", "age", "component", "sparse.term", ".fitted", ".se.fit", ".lower", ".upper"
  ))
  expect_equal(nrow(table), 4)
  effects <- coef(example_group)
  expect_equal(table$.fitted[2], sum(effects[1:3] * c(1, 1, 40)))
  expect_equal(table$.upper - table$.fitted, stats::qt(0.975, 21) * table$.se.fit)
  narrow <- predict(example_group, people, conf.level = 0.5)
  expect_true(all(narrow$.upper < table$.upper))
  wide <- predict(example_group, people, interval = "prediction")
  expect_equal(
    ((wide$.upper - wide$.fitted) / stats::qt(0.975, 21))^2,
    table$.se.fit^2 + rep(unname(sigma(example_group))^2, each = 2)
  )
})

test_that("predictions of one coefficient are those of predict.lm where errors are equal", {
  set.seed(3)
  people <- data.frame(id = 1:30, x = stats::rnorm(30), g = rep(c("a", "b", "c"), 10))
  estimates <- data.frame(
    participant = 1:30, module = "m", term = "1", estimate = people$x + stats::rnorm(30), std_error = 1e-4
  )
  skip_if_not_installed("metafor")
  group <- spice_group(estimates, ~ x * g, people, "metafor", participant = id)
  new <- data.frame(x = c(-1, 2), g = c("c", "b"))
  model <- stats::lm(estimates$estimate ~ x * g, people)
  expected <- stats::predict(model, new, interval = "confidence")
  expect_equal(as.matrix(predict(group, new)[c(".fitted", ".lower", ".upper")]), expected,
    tolerance = 1e-5, ignore_attr = TRUE
  )
  expect_equal(
    as.matrix(predict(group, new, interval = "prediction")[c(".fitted", ".lower", ".upper")]),
    stats::predict(model, new, interval = "prediction"),
    tolerance = 1e-5, ignore_attr = TRUE
  )
})

test_that("a link is undone on demand", {
  group <- example_group
  group$links <- list(beta = "log", x_learning_rate_reward = "logit")
  plain <- predict(group)
  own <- predict(group, type = "response")
  beta <- plain$component == "beta"
  expect_equal(own$.upper[beta], exp(plain$.upper[beta]))
  expect_equal(own$.fitted[!beta], stats::plogis(plain$.fitted[!beta]))
  expect_equal(own$.se.fit[!beta], plain$.se.fit[!beta] * stats::dlogis(plain$.fitted[!beta]))
})

test_that("what cannot be predicted is refused, and what is withheld stays so", {
  expect_error(predict(example_group, data.frame(age = 3)), "'diagnosis'", class = "spicestat_error_column")
  expect_error(predict(example_group, 1), "data frame", class = "spicestat_error_column")
  expect_error(predict(example_group, data.frame(diagnosis = "well", age = 3)), "'control', 'patient'",
    class = "spicestat_error_covariate"
  )
  expect_error(predict(example_group, data.frame(diagnosis = "control", age = "3")), "numeric",
    class = "spicestat_error_column"
  )
  expect_error(predict(example_group, type = "class"), class = "spicestat_error_config")
  expect_true(is.na(predict(example_group, data.frame(diagnosis = "control", age = NA_real_))$.fitted[1]))
  group <- example_group
  group$glance$withheld <- TRUE
  expect_true(all(is.na(predict(group)$.lower)))
  group$design <- NULL
  expect_error(predict(group), "earlier version", class = "spicestat_error_config")
})

test_that("new people have the kinds and the levels that the analysis had", {
  skip_if_not_installed("metafor")
  data <- cohort(30)
  # nobody has the last level, which so has no effect
  data$people$arm <- factor(rep(c("a", "b", "c"), 10), c("a", "b", "c", "d"))
  data$people$old <- data$people$age > 40
  group <- group_cohort(data, ~ arm + old, method = "metafor", modules = "beta")
  refused <- function(...) {
    tryCatch(predict(group, data.frame(...)), spicestat_error = conditionMessage)
  }
  expect_match(refused(arm = "d", old = TRUE), "Got: 'd'. Allowed: 'a', 'b', 'c'.", fixed = TRUE)
  expect_match(refused(arm = "a", old = 1), "'old' of `newdata` must be TRUE or FALSE", fixed = TRUE)
  expect_match(refused(arm = character(), old = logical()), "no rows", fixed = TRUE)
  some <- predict(group, data.frame(arm = c("c", "a"), old = c(TRUE, NA)))
  expect_equal(some$.fitted, c(sum(coef(group)[c(1, 3, 4)]), NA))
  # as numbers, levels need have been nobody's
  number <- group_cohort(data, ~ as.numeric(arm), method = "metafor", modules = "beta")
  last <- predict(number, data.frame(arm = factor("d", levels(data$people$arm))))
  expect_equal(last$.fitted, sum(coef(number) * c(1, 4)))
})

test_that("models of presence and of two parts say so", {
  group <- example_group
  group$method <- "presence"
  expect_equal(predict(group, type = "response")$.fitted, stats::plogis(predict(group)$.fitted))
  expect_match(format(group), "^beta, x_value_reward \\(log odds\\):$", all = FALSE)
  group$method <- "hurdle"
  # its parts are fitted alone
  group$joint_covariance <- NULL
  size <- presence <- group$coefficients[group$coefficients$effect == "fixed", ]
  size$group <- "magnitude"
  presence$group <- "presence"
  group$coefficients <- rbind(presence, size)
  expect_match(format(group), "^beta, x_value_reward, presence \\(log odds\\):$", all = FALSE)
  expect_match(format(group), "^beta, x_value_reward, magnitude:$", all = FALSE)
  expect_equal(sum(autoplot(group)$data$label != ""), 4)
  expect_error(predict(group), "two parts", class = "spicestat_error_config")
})
