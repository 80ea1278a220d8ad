local_variables <- function(..., .env = parent.frame()) {
  new <- c(...)
  old <- Sys.getenv(names(new), NA, names = TRUE)
  restore <- function() {
    Sys.unsetenv(names(old)[is.na(old)])
    if (any(!is.na(old))) do.call(Sys.setenv, as.list(old[!is.na(old)]))
  }
  do.call(on.exit, list(as.call(list(restore)), add = TRUE), envir = .env)
  do.call(Sys.setenv, as.list(new))
}

test_that("the Python of SPICESTAT_PYTHON is used unless another is named", {
  local_variables(SPICESTAT_PYTHON = "/a/python", RETICULATE_PYTHON = "")
  .onLoad("", "spicestat")
  expect_equal(Sys.getenv("RETICULATE_PYTHON"), "/a/python")
  Sys.setenv(SPICESTAT_PYTHON = "/b/python")
  .onLoad("", "spicestat")
  expect_equal(Sys.getenv("RETICULATE_PYTHON"), "/a/python")
})

test_that("a Python is asked of newer versions of reticulate only if none is chosen", {
  skip_if(environment_exists(), "r-spicestat is installed")
  skip_if(reticulate::py_available(), "Python runs already")
  asked <- NULL
  declare <- function(packages, python_version) asked <<- c(packages, python_version)
  local_variables(RETICULATE_PYTHON = "/a/python")
  declare_python(declare)
  expect_null(asked)
  Sys.setenv(RETICULATE_PYTHON = "", SPICESTAT_REQUIREMENT = "spicestat @ file:///src")
  declare_python(declare)
  expect_equal(asked, c("spicestat @ file:///src", ">=3.11"))
  expect_silent(declare_python(function(...) stop("no network")))
  Sys.unsetenv("SPICESTAT_REQUIREMENT")
})
