# What is broken, and the command that mends it, on one screen

expect_one_screen <- function(error) {
  message <- strsplit(conditionMessage(error), "\n", fixed = TRUE)[[1]]
  expect_lte(length(message), 12)
  expect_lte(max(nchar(message)), 300)
}

broken <- function(code, python = Sys.getenv("RETICULATE_PYTHON"), env = character()) {
  skip_on_cran()
  skip_if_not_installed_here()
  run_in_new_r(code, python, env)
}

ask <- c(
  "error <- tryCatch(spice_load(tempdir()), error = identity)",
  "cat(class(error)[1], '\\n'); cat(conditionMessage(error), '\\n')"
)
places <- c("embedded", "subprocess")

#' A Python that first changes the packages it finds
changed_python <- function(lines) {
  folder <- tempfile("changed_")
  dir.create(folder)
  writeLines(lines, file.path(folder, "sitecustomize.py"))
  paste0("PYTHONPATH=", paste(c(folder, Sys.getenv("PYTHONPATH")), collapse = .Platform$path.sep))
}

test_that("a Python that has been removed is named, with what to do", {
  for (place in places) {
    output <- broken(c(sprintf("options(spicestat.engine = '%s')", place), ask), "/removed/bin/python")
    expect_match(output, "spicestat_error_install", all = FALSE)
    expect_match(output, "the Python that was chosen is not there", all = FALSE)
    expect_match(output, "/removed/bin/python", all = FALSE)
    expect_match(output, "Run install_spicestat()", fixed = TRUE, all = FALSE)
    expect_lte(length(output), 12)
  }
})

test_that("a missing package and a wrong NumPy are named, with the command for the terminal", {
  skip_if_no_engine()
  env <- changed_python(c(
    "from importlib import metadata",
    "real = metadata.version",
    "def version(name):",
    "    if name == 'numpy': return '1.21.0'",
    "    if name == 'scipy': raise metadata.PackageNotFoundError(name)",
    "    return real(name)",
    "metadata.version = version"
  ))
  for (place in places) {
    output <- broken(c(sprintf("options(spicestat.engine = '%s')", place), ask), env = env)
    expect_match(output, "spicestat_error_install", all = FALSE)
    expect_match(output, "numpy: 1.21.0, needed: >=2.0", fixed = TRUE, all = FALSE)
    expect_match(output, "scipy: missing, needed: >=", fixed = TRUE, all = FALSE)
    expect_match(output, '-m pip install "numpy>=2.0" "scipy>=', fixed = TRUE, all = FALSE)
    expect_lte(length(output), 12)
  }
})

test_that("a Python without spicestat is named", {
  skip_on_os("windows")
  bare <- tempfile("bare_")
  system2(Sys.getenv("RETICULATE_PYTHON"), c("-m", "venv", "--without-pip", bare))
  skip_if_not(file.exists(file.path(bare, "bin", "python")), "venv")
  for (place in places) {
    output <- broken(
      c(sprintf("options(spicestat.engine = '%s')", place), ask), file.path(bare, "bin", "python"), "PYTHONPATH="
    )
    expect_match(output, "spicestat_error_install", all = FALSE)
    expect_match(output, "No module named", all = FALSE)
    expect_match(output, "Run install_spicestat()", fixed = TRUE, all = FALSE)
    expect_lte(length(output), 15)
  }
})

test_that("sitrep says the same, and goes on", {
  output <- broken("state <- spicestat_sitrep(); cat('problem:', !is.na(state$problem))", "/removed/bin/python")
  expect_match(output, "not there (any more)", fixed = TRUE, all = FALSE)
  expect_match(output, "problem: TRUE", all = FALSE)
})

test_that("a killed process is said to have been killed, and the next call has a new one", {
  skip_if_no_engine()
  skip_if_not_installed("processx")
  skip_on_os("windows")
  local_engine("subprocess")
  call_bridge("version")
  system(sprintf("(sleep 1; kill -9 %d) &", the$worker$get_pid()))
  error <- expect_error(
    spice_fit(little_trials(), subject, pick, points, model = "choice", epochs = 1e6, progress = FALSE),
    "it was killed",
    class = "spicestat_error_process"
  )
  expect_match(conditionMessage(error), "Run the command again")
  expect_one_screen(error)
  expect_type(call_bridge("version"), "list")
})

test_that("a process that was killed while nobody waited is replaced without a word", {
  skip_if_no_engine()
  skip_if_not_installed("processx")
  local_engine("subprocess")
  call_bridge("version")
  the$worker$kill()
  expect_type(call_bridge("version"), "list")
})

test_that("long tracebacks are cut to a few lines", {
  expect_equal(first_lines("a\n\n b\nc\nd\n"), "a\n b\nc")
  error <- tryCatch(abort_no_engine(strrep("line\n", 100), NULL, NA_character_), error = identity)
  expect_one_screen(error)
})
