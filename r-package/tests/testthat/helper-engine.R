# SPICESTAT_TEST_ENGINE=required, as `make test` sets it, turns a missing engine into a failure
skip_if_no_engine <- function() {
  if (identical(Sys.getenv("SPICESTAT_TEST_ENGINE"), "required")) {
    return(if (!spicestat_available()) stop("the engine is required, but not available"))
  }
  testthat::skip_on_cran()
  testthat::skip_if_not(spicestat_available(), "Python package spicestat")
}

#' Do tests run that take minutes?
runs_long <- function() identical(Sys.getenv("SPICESTAT_TEST_LONG"), "true")

#' Let rstan find Boost where Debian keeps its headers
find_boost <- function() {
  if (!dir.exists(system.file("include", package = "BH")) && file.exists("/usr/include/boost")) {
    rstan::rstan_options(boost_lib = "/usr/include")
  }
}

#' A Python module, unconverted; one test file may stand in for a slow engine
python_module <- function(name) {
  reticulate::import(name, convert = FALSE)
}

#' A table of pandas as a tibble
from_python <- function(frame) {
  decode_table(convert(python_module("spicestat.r.columns")$encode_table(frame)))
}

#' Run code in a fresh R in which there is no Python to be found
run_without_python <- function(code) {
  run_in_new_r(code, "/nowhere/python")
}

#' Run code in a fresh R with another Python, and give what it printed
run_in_new_r <- function(code, python = Sys.getenv("RETICULATE_PYTHON"), env = character()) {
  script <- tempfile(fileext = ".R")
  writeLines(c(no_device, "library(spicestat)", code), script)
  on.exit(unlink(script))
  suppressWarnings(system2(
    file.path(R.home("bin"), "Rscript"), c("--vanilla", script),
    stdout = TRUE, stderr = TRUE,
    env = c(
      paste0("RETICULATE_PYTHON=", python), "SPICESTAT_PYTHON=", env,
      paste0("R_LIBS=", paste(.libPaths(), collapse = .Platform$path.sep))
    )
  ))
}

#' The engine's place for the rest of a test; a process of its own, which takes seconds to start, stays for other tests
local_engine <- function(place, .env = parent.frame()) {
  old <- options(spicestat.engine = place)
  restore <- function() options(old)
  do.call(on.exit, list(as.call(list(restore)), add = TRUE), envir = .env)
}

# tests of an installed package only: under load_all() a new R would not find it
skip_if_not_installed_here <- function() {
  description <- file.path(getNamespaceInfo("spicestat", "path"), "Meta", "package.rds")
  testthat::skip_if_not(file.exists(description), "an installed spicestat")
}

little_trials <- function(n_people = 3, n_trials = 20) {
  set.seed(1)
  n <- n_people * n_trials
  data.frame(
    subject = rep(letters[seq_len(n_people)], each = n_trials),
    block = 1L,
    pick = rbinom(n, 1, 0.5),
    points = rbinom(n, 1, 0.5),
    age = rep(20 + seq_len(n_people), each = n_trials)
  )
}
