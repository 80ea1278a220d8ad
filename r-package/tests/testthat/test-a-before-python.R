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

test_that("an environment is made by venv where reticulate cannot, or an error says what is missing", {
  skip_on_os("windows")
  folder <- tempfile("venvs")
  local_variables(WORKON_HOME = folder)
  stands_in <- function(version_status) {
    script <- tempfile("python")
    checks <- sprintf("if [ \"$1\" = -c ]; then exit %d; fi", version_status)
    writeLines(c("#!/bin/sh", checks, "mkdir -p \"$3\""), script)
    Sys.chmod(script, "755")
    script
  }
  no_pip <- function(...) stop("Suitable Python installation for creating a venv not found.")
  make_environment("ours", stands_in(0), NULL, no_pip)
  expect_true(dir.exists(file.path(folder, "ours")))
  expect_error(make_environment("old", stands_in(1), NULL, no_pip), "python3-venv", class = "spicestat_error_install")
  expect_false(dir.exists(file.path(folder, "old")))
  elsewhere <- file.path(tempfile("a b"), "env")
  make_environment(elsewhere, stands_in(0), NULL, no_pip)
  expect_true(dir.exists(elsewhere))
  expect_equal(make_environment("x", NULL, NULL, function(envname, python, packages) envname), "x")
})

test_that("a Python whose shared library is missing is told of when it has been installed", {
  skip_on_os("windows")
  runs <- tempfile("python")
  writeLines(c("#!/bin/sh", "exit 0"), runs)
  Sys.chmod(runs, "755")
  expect_true(loads_its_library(runs, "Linux"))
  expect_false(loads_its_library("/bin/false", "Linux"))
  expect_true(loads_its_library("/bin/false", "Darwin"))
  expect_message(tell_of_missing_library(runs, loads = function(python) FALSE), "shared library is missing")
  expect_no_message(tell_of_missing_library(runs, loads = function(python) TRUE))
  expect_equal(library_of("/bin/false"), "libpython3")
  expect_message(tell_of_size("Linux", ""), "5 GB")
  expect_no_message(tell_of_size("Linux", "https://download.pytorch.org/whl/cpu"))
  expect_no_message(tell_of_size("Darwin", ""))
  expect_equal(first_lines("not found.\nInstall one of:\n", most = 2), "not found.")
})

test_that("sitrep looks for no Python where none was chosen", {
  skip_if(environment_exists(), "r-spicestat is installed")
  skip_if(reticulate::py_available(), "Python runs already")
  local_variables(RETICULATE_PYTHON = "", SPICESTAT_PYTHON = "")
  expect_message(state <- spicestat_sitrep(), "install_spicestat")
  expect_equal(state$problem, "No Python has been chosen.")
  expect_false(reticulate::py_available())
})

test_that("a Python without a shared library is named with its remedies", {
  reason <- "'/x/python' was not built with a shared library. Python built with '--enable-shared'."
  error <- tryCatch(abort_no_engine(reason, NULL, "/nowhere/python"), error = function(error) error)
  expect_match(conditionMessage(error), "apt install libpython3.", fixed = TRUE)
  expect_match(conditionMessage(error), "spicestat.engine = \"subprocess\"", fixed = TRUE)
  other <- tryCatch(abort_no_engine("No module", NULL, NA), error = function(error) error)
  expect_no_match(conditionMessage(other), "subprocess")
})
