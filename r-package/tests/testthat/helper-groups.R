# 40 participants, two coefficients that differ together, and people with a factor, a number and a gap
cohort <- function(n = 40, seed = 4) {
  set.seed(seed)
  people <- data.frame(
    id = sprintf("s%02d", seq_len(n)), ill = rep(c("yes", "no"), length.out = n), age = round(stats::runif(n, 20, 60))
  )
  common <- stats::rnorm(n)
  rate <- 0.4 + 0.15 * (people$ill == "yes") + 0.06 * common + stats::rnorm(n, sd = 0.04)
  beta <- 3 + 0.02 * people$age + 0.5 * common + stats::rnorm(n, sd = 0.3)
  errors <- data.frame(rate = stats::runif(n, 0.02, 0.08), beta = stats::runif(n, 0.2, 0.7))
  table <- data.frame(
    participant = rep(people$id, 2), module = rep(c("x_rate", "beta"), each = n), term = rep(c("1", "v"), each = n),
    estimate = c(rate + stats::rnorm(n, sd = errors$rate), beta + stats::rnorm(n, sd = errors$beta)),
    std_error = c(errors$rate, errors$beta), converged = TRUE, at_bound = FALSE
  )
  list(table = table, people = people)
}

group_cohort <- function(data, formula = ~ ill + age, method, ...) {
  spice_group(data$table, formula, data$people, method, participant = id, ...)
}

#' The largest relative difference of two columns of numbers
relative <- function(x, y) {
  testthat::expect_equal(is.na(x), is.na(y))
  differ <- which(x != y)
  max(0, abs(x - y)[differ] / pmax(abs(y[differ]), 1e-12))
}

expect_same_numbers <- function(group, reference, tolerance = 1e-6, columns = NULL) {
  for (table in c("coefficients", "glance")) {
    ours <- group[[table]]
    theirs <- reference[[table]]
    testthat::expect_equal(names(ours), names(theirs))
    labels <- setdiff(names(ours)[vapply(ours, is.character, NA)], "method")
    testthat::expect_equal(ours[labels], theirs[labels])
    for (name in names(ours)[vapply(ours, is.numeric, NA)]) {
      testthat::expect_lt(relative(ours[[name]], theirs[[name]]), tolerance, label = paste(table, name))
    }
  }
  testthat::expect_equal(group$covariance[1:4], reference$covariance[1:4])
  for (key in unique(group$covariance$module)) {
    ours <- group$covariance$value[group$covariance$module == key]
    theirs <- reference$covariance$value[reference$covariance$module == key]
    testthat::expect_lt(max(abs(ours - theirs)) / max(abs(theirs)), tolerance)
  }
}

#' Value and classed warnings of code
warned <- function(code) {
  said <- character()
  value <- withCallingHandlers(code, spicestat_warning = function(w) {
    said <<- c(said, conditionMessage(w))
    invokeRestart("muffleWarning")
  })
  list(value = value, said = said)
}
