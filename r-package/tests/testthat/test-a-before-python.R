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
  asked <- NULL
  Sys.unsetenv("SPICESTAT_REQUIREMENT")
  if (is.null(engine_wheel())) {
    declare_python(declare)
    expect_null(asked)
  }
  Sys.unsetenv("SPICESTAT_REQUIREMENT")
})

test_that("the engine is the wheel that the R package brings, and no name on an index", {
  folder <- tempfile("python")
  dir.create(folder)
  expect_null(engine_wheel(folder))
  expect_null(engine_wheel(""))
  file.create(file.path(folder, c("spicestat-0.1.0-py3-none-any.whl", "spicestat-0.2.0-py3-none-any.whl", "other.whl")))
  wheel <- engine_wheel(folder)
  expect_match(wheel, "spicestat-0.2.0-py3-none-any.whl$")
  expect_equal(engine_requirement("/a b/spicestat-1.whl"), "spicestat @ file:///a%20b/spicestat-1.whl")
  expect_equal(engine_requirement("C:/x/spicestat-1.whl"), "spicestat @ file:///C:/x/spicestat-1.whl")
  expect_equal(engine_requirement(NULL), "")
  expect_equal(install_source(NULL, wheel, NULL), wheel)
  expect_equal(install_source("git+https://x", wheel, NULL), "git+https://x")
  expect_equal(install_source(folder, wheel, NULL), normalizePath(folder, "/"))
  expect_error(install_source(NULL, NULL, NULL), "brings no engine", class = "spicestat_error_install")
  expect_error(install_source(1, NULL, NULL), class = "spicestat_error_config")
})

test_that("sitrep looks for no Python where none was chosen", {
  skip_if(environment_exists(), "r-spicestat is installed")
  skip_if(reticulate::py_available(), "Python runs already")
  local_variables(RETICULATE_PYTHON = "", SPICESTAT_PYTHON = "")
  expect_message(state <- spicestat_sitrep(), "install_spicestat")
  expect_equal(state$problem, "No Python has been chosen.")
  expect_false(reticulate::py_available())
})
