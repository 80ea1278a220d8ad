skip_if_no_processx <- function() {
  skip_if_no_engine()
  skip_if_not_installed("processx")
}

quick_fit <- function(...) {
  suppressWarnings(
    spice_fit(little_trials(), subject, pick, points, model = "rescorla_wagner", epochs = 2, progress = FALSE, ...)
  )
}

test_that("trees come back with their types", {
  file <- tempfile()
  there_and_back <- function(x) {
    write_tree(x, file)
    read_tree(file)
  }
  tree <- list(
    ok = TRUE, none = NULL, whole = 3L, real = 0.1, text = "\u00e9\u4f60", empty = list(), wholes = 1:3,
    reals = c(NaN, Inf, 1e300), texts = c("", "\U0001F600", "b"), some = list(1L, "a", list(x = FALSE))
  )
  expect_identical(there_and_back(tree), tree)
  latin <- "\xe9t\xe9"
  Encoding(latin) <- "latin1"
  expect_identical(there_and_back(latin), "\u00e9t\u00e9")
  expect_identical(there_and_back(c(TRUE, FALSE)), list(TRUE, FALSE))
  expect_error(write_tree(mean, file), class = "spicestat_error_config")
  writeBin(charToRaw("x"), file)
  expect_error(read_tree(file), class = "spicestat_error_internal")
})

test_that("the place of the engine is an option or a variable", {
  local_engine(NULL)
  expect_equal(engine_place(), "embedded")
  options(spicestat.engine = "subprocess")
  expect_equal(engine_place(), "subprocess")
  options(spicestat.engine = "moon")
  expect_error(engine_place(), "unknown engine: moon", class = "spicestat_error_config")
})

test_that("a process of its own gives the same numbers, without Python in R", {
  skip_if_no_processx()
  skip_if_not_installed_here()
  embedded <- quick_fit(seed = 3)
  local_engine("subprocess")
  apart <- quick_fit(seed = 3)
  expect_identical(apart$coefficients, embedded$coefficients)
  expect_identical(apart$scores, embedded$scores)
  expect_identical(apart$people, embedded$people)
  group <- function() tidy(spice_group(example_fit, ~ diagnosis + age))
  there <- group()
  options(spicestat.engine = "embedded")
  expect_identical(there, group())
  output <- run_in_new_r(c(
    "options(spicestat.engine = 'subprocess')",
    "fitted <- spice_group(example_fit, ~ diagnosis)",
    "cat('started:', reticulate::py_available(), nrow(tidy(fitted)) > 0, '\\n')"
  ))
  expect_match(output, "^started: FALSE TRUE", all = FALSE)
})

test_that("conditions have the same classes", {
  skip_if_no_processx()
  local_engine("subprocess")
  data <- little_trials()
  expect_error(spice_load(tempdir()), class = "spicestat_error_storage")
  expect_error(
    spice_fit(transform(data, points = "won"), subject, pick, points, progress = FALSE),
    class = "spicestat_error_column"
  )
  short <- rbind(data, transform(data[1, ], subject = "short"))
  expect_warning(
    spice_fit(short, subject, pick, points, model = "rescorla_wagner", epochs = 1, progress = FALSE),
    class = "spicestat_warning_exclusion"
  ) |> suppressWarnings()
})

test_that("progress arrives while the engine works", {
  skip_if_no_processx()
  local_engine("subprocess")
  seen <- list()
  table <- encode_table(little_trials())
  folder <- tempfile()
  options <- list(
    participant = "subject", choice = "pick", reward = "points", model = "rescorla_wagner", epochs = 2L,
    folder = folder
  )
  suppressWarnings(
    call_bridge("fit", table, options, progress = function(...) seen <<- c(seen, list(list(...))))
  )
  expect_true(dir.exists(folder))
  expect_equal(seen[[1]][[1]], "rnn")
  expect_true(all(lengths(seen) == 4))
  expect_type(seen[[1]][[2]], "integer")
})

test_that("group models say how far they are, in both kinds of engine", {
  for (kind in c("embedded", "subprocess")) {
    if (kind == "embedded") skip_if_no_engine() else skip_if_no_processx()
    seen <- list()
    local({
      local_engine(kind)
      show <- function(...) seen <<- c(seen, list(list(...)))
      settings <- list(method = "permutation", terms = "1")
      estimates <- example_fit$coefficients
      people <- group_people(example_fit, estimates, ~age, NULL, "participant", NULL, NULL)
      fit_by_engine(example_fit, estimates, NULL, people, settings, NULL, show, NULL)
    })
    last <- seen[[length(seen)]]
    expect_identical(last[[1]], "group")
    expect_identical(last[[2]], last[[3]])
  }
})

test_that("a half-written line of progress waits for its end", {
  file <- tempfile()
  seen <- list()
  note <- function(...) seen <<- c(seen, list(c(...)))
  expect_equal(pass_progress(file, 0, note), 0)
  cat("rnn\t1\t10\tloss 0.5\nrnn\t2\t1", file = file)
  expect_equal(pass_progress(file, 0, note), 1)
  cat("0\t\n", file = file, append = TRUE)
  expect_equal(pass_progress(file, 1, note), 2)
  expect_equal(seen, list(c("rnn", "1", "10", "loss 0.5"), c("rnn", "2", "10", "")))
})

test_that("Ctrl-C ends the process, and the next call starts another", {
  skip_if_no_processx()
  skip_on_os("windows")
  local_engine("subprocess")
  call_bridge("version")
  process <- the$worker
  system(sprintf("(sleep 1; kill -INT %d) &", Sys.getpid()))
  outcome <- tryCatch(
    {
      spice_fit(little_trials(), subject, pick, points, model = "choice", epochs = 1e6, progress = FALSE)
      "finished"
    },
    interrupt = function(condition) "interrupt"
  )
  expect_equal(outcome, "interrupt")
  process$wait(5000)
  expect_false(process$is_alive())
  expect_type(call_bridge("version"), "list")
})

test_that("the library path of R is not that of the process", {
  variables <- c(LD_LIBRARY_PATH = paste0(r_library_path(), ":/users/own"), HOME = "/home")
  expect_equal(worker_environment(variables), c(LD_LIBRARY_PATH = "/users/own", HOME = "/home"))
})
