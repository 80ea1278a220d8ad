opened <- function(envelope) open_envelope(envelope, rlang::current_env())

test_that("an envelope gives its value and its warnings", {
  envelope <- list(
    ok = TRUE, value = 1, warnings = list(list(code = "exclusion", message = "2 of {3} rows"))
  )
  expect_warning(value <- opened(envelope), "2 of \\{3\\} rows", class = "spicestat_warning_exclusion")
  expect_equal(value, 1)
  expect_warning(opened(envelope), class = "spicestat_warning")
})

test_that("an envelope's error has the class of its code and the traceback", {
  envelope <- list(ok = FALSE, code = "column", message = "no column {x}", traceback = "at line 3")
  error <- expect_error(opened(envelope), "no column \\{x\\}", class = "spicestat_error_column")
  expect_s3_class(error, c("spicestat_error", "rlang_error", "error"), exact = FALSE)
  expect_equal(error$traceback, "at line 3")
  envelope$code <- "install"
  expect_error(opened(envelope), "install_spicestat", class = "spicestat_error_install")
})
