text <- function(formula) formula_text(formula, rlang::current_env())

test_that("formulas become text for the engine", {
  expect_equal(text(~ diagnosis + age), "~diagnosis + age")
  expect_equal(text("~ diagnosis * age"), "~diagnosis * age")
  expect_equal(text(~ I(age^2) - 1), "~I(age^2) - 1")
  expect_equal(text(~ as.factor(site)), "~factor(site)")
  expect_equal(text(~.), "~.")
  long <- stats::reformulate(paste0("covariate_number_", 1:60))
  expect_length(text(long), 1)
})

test_that("names with dots and names that are not plain are sent as they are", {
  expect_equal(text(~ age.y + log(age.y) + `BDI total`), "~age.y + log(age.y) + `BDI total`")
})

test_that("what is no formula is refused", {
  expect_error(text(3), class = "spicestat_error_formula")
  expect_error(text("age +"), class = "spicestat_error_formula")
})
