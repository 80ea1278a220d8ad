test_that("sitrep says what is there", {
  skip_if_no_engine()
  expect_message(state <- spicestat_sitrep(), "reticulate")
  expect_true(is.na(state$problem))
  expect_true(all(c("spicestat", "numpy", "pandas") %in% names(state$versions)))
})

test_that("another protocol is refused", {
  skip_if_no_engine()
  bridge()
  module <- python_module("spicestat.r.bridge")
  old <- module$PROTOCOL
  on.exit({
    module$PROTOCOL <- old
    the$bridge <- NULL
  })
  module$PROTOCOL <- 99L
  the$bridge <- NULL
  expect_error(bridge(), "protocol is version 99", class = "spicestat_error_install")
})
