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

test_that("names with dots are replaced, and found again in the result", {
  expect_equal(text(~ age.y + log(age.y) + x), "~age_dot_y + log(age_dot_y) + x")
  expect_equal(show_dots("log(age_dot_y)"), "log(age.y)")
})

test_that("what is no formula is refused", {
  expect_error(text(3), class = "spicestat_error_formula")
  expect_error(text("age +"), class = "spicestat_error_formula")
})

test_that("what Python says has names as R users wrote them", {
  envelope <- list(ok = TRUE, value = 1, warnings = list(list(code = "x", message = "5 lack 'age_dot_y'.")))
  expect_warning(open_envelope(envelope, NULL), "lack 'age.y'", fixed = TRUE)
  expect_error(open_envelope(list(ok = FALSE, code = "x", message = "no age_dot_y"), NULL), "age.y", fixed = TRUE)
})
