test_that("the Python of SPICESTAT_PYTHON is used unless another is named", {
  withr_free <- function(spicestat, reticulate) {
    old <- Sys.getenv(c("SPICESTAT_PYTHON", "RETICULATE_PYTHON"), NA)
    on.exit({
      Sys.unsetenv(names(old)[is.na(old)])
      if (any(!is.na(old))) do.call(Sys.setenv, as.list(old[!is.na(old)]))
    })
    Sys.setenv(SPICESTAT_PYTHON = spicestat, RETICULATE_PYTHON = reticulate)
    .onLoad("", "spicestat")
    Sys.getenv("RETICULATE_PYTHON")
  }
  expect_equal(withr_free("/a/python", ""), "/a/python")
  expect_equal(withr_free("/a/python", "/b/python"), "/b/python")
})

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
