read <- function(formula) as_formula(formula, rlang::current_env())

test_that("formulas may be text, and what is none is refused", {
  expect_equal(read("~ diagnosis * age"), ~ diagnosis * age, ignore_attr = TRUE)
  expect_equal(read("~ log(age) + `BDI total`"), ~ log(age) + `BDI total`, ignore_attr = TRUE)
  expect_error(read(3), class = "spicestat_error_formula")
  expect_error(read("age +"), class = "spicestat_error_formula")
  expect_error(read("age"), "Write ~ age", class = "spicestat_error_formula")
})

test_that("text runs nothing but what formulas are for", {
  texts <- c("~ I(system('touch mark'))", "~ base::system('x')", "~ (function() 1)()", "~ get('q')()", "~ eval(a)")
  for (text in texts) {
    expect_error(read(text), "may not call", class = "spicestat_error_formula")
  }
  expect_silent(read("~ a * poly(b, 2) + I(c^2) + (d | e/f) + relevel(g, ref = 'x')"))
})

test_that("random parts are those of lme4", {
  skip_if_not_installed("lme4")
  formula <- ~ a * b + (a | g) + (1 + b || h) + ((1 | clinic / ward)) + (0 + a | g:h)
  parts <- random_parts(formula)
  ours <- vapply(parts, function(part) paste(part$groups, collapse = ":"), "")
  expect_equal(ours, c("g", "h", "clinic", "clinic:ward", "g:h"))
  expect_equal(vapply(parts, `[[`, NA, "correlated"), c(TRUE, FALSE, TRUE, TRUE, TRUE))
  theirs <- suppressWarnings(lme4::findbars(y ~ a * b + (a | g) + (1 | clinic / ward) + (0 + a | g:h)))
  groups <- vapply(theirs, function(bar) paste(sort(all.vars(bar[[3]])), collapse = ":"), "")
  expect_setequal(groups, c("g", "clinic", "clinic:ward", "g:h"))
  expect_equal(parts[[5]]$effects, ~ 0 + a, ignore_attr = TRUE)
  expect_null(random_parts(~ a + b))
})

test_that("a point is all covariates", {
  dotless <- function(formula) without_dot(formula, c("age", "BDI total"), rlang::current_env())
  expect_equal(dotless(~.), ~ age + `BDI total`, ignore_attr = TRUE)
  expect_equal(dotless(~ . - age), ~ `BDI total`, ignore_attr = TRUE)
  expect_equal(dotless(~ . + (1 | site)), ~ age + `BDI total` + (1 | site), ignore_attr = TRUE)
  expect_error(without_dot(~., character(), NULL), class = "spicestat_error_formula")
})
