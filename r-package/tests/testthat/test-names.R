named <- function(x, available = c("subject", "age", "sex")) {
  column_names(rlang::enquo(x), available, "x", rlang::current_env())
}

test_that("bare names, text, c() and .data all name columns", {
  expect_equal(named(subject), "subject")
  expect_equal(named("subject"), "subject")
  expect_equal(named(c(age, "sex")), c("age", "sex"))
  expect_equal(named(.data$age), "age")
  expect_equal(named(.data[["age"]]), "age")
  expect_null(named(NULL))
})

test_that("variables that hold names can be used, and columns come first", {
  wanted <- c("age", "sex")
  expect_equal(named(wanted), c("age", "sex"))
  expect_equal(named(!!wanted[1]), "age")
  expect_equal(named(paste0("a", "ge")), "age")
  age <- "sex"
  expect_equal(named(age), "age")
})

test_that("names of a file's columns are taken as they are", {
  expect_equal(named(anything, available = NULL), "anything")
})

test_that("what names no column is refused with the names there are", {
  expect_error(named(height), "no column 'height'.*subject, age, sex", class = "spicestat_error_column")
  expect_error(named(age + 1), class = "spicestat_error_column")
  expect_error(named(3), class = "spicestat_error_column")
  expect_error(named(), "must name a column", class = "spicestat_error_column")
  one <- function(x) column_name(rlang::enquo(x), c("a", "b"), "x", rlang::current_env())
  expect_error(one(c(a, b)), "one column, not 2", class = "spicestat_error_column")
})
