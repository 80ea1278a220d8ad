# Quantities derived from mean coefficients, compared with the engine's own and with single coefficients.

skip_if_not_installed("emmeans")

test_that("derived means are the engine's", {
  skip_if_no_engine()
  data <- cohort(40)
  people <- stats::setNames(data$people, c("participant", "ill", "age"))
  table <- data$table[setdiff(names(data$table), c("converged", "at_bound"))]
  expressions <- c(
    ratio = 'beta["v"] / x_rate["1"]', life = 'log(0.5) / log(1 - x_rate["1"])',
    odd = '-abs(x_rate["1"] - 2) ** 2 + sqrt(exp(x_rate["1"]))', none = 'log(-beta["v"])'
  )
  theirs <- python_module("spicestat.group")$spice_group(
    table, "~ ill + age",
    data = people, method = "multivariate_meta"
  )
  group <- group_cohort(data, method = "multivariate_meta")
  for (at in list(NULL, list(age = 30))) {
    reference <- theirs$derived_means(as.list(expressions), "ill", at = at, conf_level = 0.9)
    reference <- from_python(reference)
    ours <- spice_derived_means(group, expressions, ~ill, at = at, conf_level = 0.9)
    expect_equal(ours$quantity, reference$quantity)
    expect_equal(as.character(ours$ill), as.character(reference$ill))
    for (name in c("estimate", "std_error", "df", "conf_low", "conf_high")) {
      expect_equal(ours[[chartr("_", ".", name)]], reference[[name]], tolerance = 1e-5, label = name)
    }
  }
})

test_that("one coefficient is its marginal mean, on its own scale", {
  skip_if_not_installed("metafor")
  data <- cohort(40)
  group <- group_cohort(data, method = "metafor")
  found <- spice_derived_means(group, list(own = 'x_rate["1"]'), c("ill", "age"), at = list(age = c(30, 50)))
  means <- predict(group, found[c("ill", "age")])
  means <- means[means$component == "x_rate", ]
  expect_equal(found$estimate, means$.fitted)
  expect_equal(found$std.error, means$.se.fit)
  expect_equal(found$conf.low, means$.lower)
  linked <- group
  linked$links <- list(x_rate = "logit")
  odds <- spice_derived_means(linked, c(own = 'term("x_rate", "1")'))
  plain <- spice_derived_means(group, c(own = 'x_rate["1"]'))
  expect_equal(nrow(plain), 1)
  expect_equal(odds$estimate, stats::plogis(plain$estimate))
  expect_equal(odds$std.error, plain$std.error * stats::dlogis(plain$estimate))
  group$coefficients[c("p_value", "conf_low", "conf_high")] <- NA_real_
  expect_true(is.na(spice_derived_means(group, c(own = 'x_rate["1"]'))$conf.low))
})

test_that("expressions are arithmetic and nothing else", {
  refused <- function(text, words) {
    expect_error(spice_derived_means(example_group, c(x = text)), words, class = "spicestat_error_config")
  }
  refused("2 +", "cannot be read")
  refused("2 + 2", "names no coefficient")
  refused('beta["nothing"]', "names beta:nothing. Allowed: .*beta:x_value_reward")
  refused('system("ls")', "neither a coefficient nor arithmetic")
  refused('beta["x_value_reward"] + pi', "neither a coefficient nor arithmetic")
  refused('log(beta["x_value_reward"], 2)', "neither a coefficient nor arithmetic")
  refused('base::exp(beta["x_value_reward"])', "neither a coefficient nor arithmetic")
  expect_error(spice_derived_means(example_group, "2"), "named text", class = "spicestat_error_config")
  expect_error(spice_derived_means(example_group, list(x = 2)), "named text", class = "spicestat_error_config")
  beta <- c(x = 'beta["x_value_reward"]')
  expect_error(spice_derived_means(example_group, beta, ~height), "no column", class = "spicestat_error_column")
  apart <- example_group
  apart$joint_covariance <- NULL
  both <- c(x = 'beta["x_value_reward"] * x_learning_rate_reward["1"]')
  expect_error(spice_derived_means(apart, both), "no covariance", class = "spicestat_error_config")
  expect_equal(nrow(spice_derived_means(apart, beta)), 1)
})
