# Standardised effects, compared with the engine's own and with the textbook.

in_python <- function(data, formula, method, ...) {
  table <- data$table[setdiff(names(data$table), c("converged", "at_bound"))]
  people <- data$people
  names(people)[1] <- "participant"
  suppressWarnings(python_module("spicestat.group")$spice_group(table, formula, data = people, method = method, ...))
}

expect_like_python <- function(data, formula, method, kind, ...) {
  theirs <- from_python(in_python(data, formula, method)$standardised(kind, ...))
  group <- suppressWarnings(group_cohort(data, stats::as.formula(formula), method))
  ours <- spice_standardised(group, kind, ...)
  label <- paste(formula, method, kind)
  expect_equal(paste(ours$component, ours$term), paste(theirs$module, theirs$term), label = label)
  for (name in c("estimate", "std_error", "df", "conf_low", "conf_high")) {
    expect_equal(ours[[chartr("_", ".", name)]], theirs[[name]], tolerance = 1e-5, label = paste(label, name))
  }
}

test_that("standardised effects are the engine's, for every kind and method that knows its spread", {
  skip_if_no_engine()
  data <- cohort(40)
  data$people$site <- rep(c("A", "B", "C", "D"), each = 10)
  for (method in c("meta", "ols", "multivariate_meta", "mixed")) {
    for (kind in c("residual", "total", "partial_r")) expect_like_python(data, "~ ill + age", method, kind)
  }
  expect_like_python(data, "~ ill + age", "meta", "residual", small_sample = TRUE)
  expect_like_python(data, "~ ill + age", "meta", "total", conf_level = 0.8)
  # the numeric part of interactions, also where a category has all its levels as columns
  for (formula in c("~ ill * age", "~ ill * site + ill:age", "~ 0 + ill + age", "~ ill:age")) {
    expect_like_python(data, formula, "ols", "total")
  }
})

test_that("the variance of Cohen's d by least squares is that of Hedges, and J is the ratio of gammas", {
  skip_if_no_engine()
  data <- cohort(40)
  data$people$ill[1:8] <- "no"
  group <- group_cohort(data, ~ill, "ols")
  found <- spice_standardised(group)[1, ]
  y <- data$table$estimate[1:40]
  ill <- data$people$ill == "yes"
  pooled <- sqrt((sum(ill) - 1) * stats::var(y[ill]) + (sum(!ill) - 1) * stats::var(y[!ill])) / sqrt(38)
  d <- (mean(y[ill]) - mean(y[!ill])) / pooled
  expect_equal(found$estimate, d)
  # errors of least squares are by HC3, which divides a group's variance by its size less one
  v <- (stats::var(y[ill]) / (sum(ill) - 1) + stats::var(y[!ill]) / (sum(!ill) - 1)) / pooled^2
  expect_equal(found$std.error, sqrt(v + d^2 / (2 * 38)))
  expect_equal(hedges_correction(c(10, Inf)), c(gamma(5) / (sqrt(5) * gamma(4.5)), 1))
})

test_that("the parts of columns that are numbers are found whatever the coding", {
  data <- cohort(40)
  data$people$site <- factor(rep(c("A", "B", "C", "D"), 10))
  scales <- function(formula) {
    people <- stats::setNames(data$people, sub("^id$", "participant", names(data$people)))
    design <- group_design(formula, people, NULL)
    design$columns <- colnames(design$matrix)
    stats::setNames(column_scales(design), design$columns)
  }
  age <- stats::sd(data$people$age)
  expect_equal(unname(scales(~ ill * age)), c(1, 1, age, age))
  expect_equal(unname(scales(~ 0 + ill:age)), c(age, age))
  expect_equal(unname(scales(~1)), 1)
  poly <- scales(~ poly(age, 2):site + ill)
  expect_length(poly, 10)
  expect_equal(unname(poly[-(1:2)]), rep(1 / sqrt(39), 8))
  expect_equal(unname(scales(~ I(age > 40) + C(site, contr.sum, 2):age)), c(1, 1, age, age, age, age))
})

test_that("what cannot be standardised is refused or missing", {
  refused <- function(code, words) expect_error(code, words, class = "spicestat_error_config")
  refused(spice_standardised(example_fit), "must come from spice_group")
  refused(spice_standardised(example_group, "beta"), "It is one of")
  refused(spice_standardised(example_group, "total", small_sample = TRUE), "residual")
  hidden <- example_group
  hidden$coefficients[c("p_value", "conf_low", "conf_high")] <- NA_real_
  expect_true(all(is.na(spice_standardised(hidden)$conf.low)))
  expect_false(anyNA(spice_standardised(hidden)$estimate))
  flat <- example_group
  flat$coefficients$estimate[flat$coefficients$effect == "ran_pars"] <- 0
  expect_true(all(is.na(spice_standardised(flat)$estimate)))
  # without any spread, everything is explained
  total <- spice_standardised(flat, "total")
  expect_equal(is.na(total$estimate), rep(FALSE, 4))
  parted <- example_group
  parted$formula <- "~diagnosis + age + (1 | site)"
  refused(spice_standardised(parted), "random parts")
  expect_equal(nrow(spice_standardised(parted, "partial_r")), 4)
})
