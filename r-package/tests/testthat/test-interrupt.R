interrupt_after <- function(seconds) {
  system(sprintf("(sleep %s; kill -INT %d) &", seconds, Sys.getpid()))
}

outcome_of <- function(expr) {
  tryCatch(
    {
      expr
      "finished"
    },
    interrupt = function(condition) "interrupt",
    error = function(error) conditionMessage(error)
  )
}

test_that("Ctrl-C ends the engine and is an interrupt in R, again and again", {
  skip_if_no_engine()
  skip_on_os("windows")
  code <- paste(
    "import time",
    "from spicestat.r import envelopes",
    "def wait():",
    "    return envelopes.enveloped(lambda: time.sleep(20))",
    sep = "\n"
  )
  module <- reticulate::py_run_string(code, convert = FALSE)
  for (i in 1:3) {
    started <- Sys.time()
    interrupt_after(0.5)
    expect_equal(outcome_of(open_envelope(convert(module$wait()), NULL)), "interrupt")
    expect_lt(as.numeric(difftime(Sys.time(), started, units = "secs")), 10)
  }
  expect_type(call_bridge("version"), "list")
})

test_that("Ctrl-C in the training of a network is an interrupt and gives no fit, in R and in a process of its own", {
  skip_if_no_engine()
  skip_on_os("windows")
  for (place in engines) {
    if (place == "subprocess") skip_if_not_installed("processx")
    local_engine(place)
    call_bridge("version")
    fit <- "none"
    interrupt_after(3)
    expect_equal(
      outcome_of(fit <- spice_fit(
        little_trials(), subject, pick, points,
        model = "choice", epochs = 100000, progress = FALSE
      )),
      "interrupt"
    )
    expect_equal(fit, "none")
  }
})

test_that("R itself can be interrupted after the engine ran", {
  skip_if_no_engine()
  skip_on_os("windows")
  call_bridge("version")
  interrupt_after(0.5)
  expect_equal(outcome_of(Sys.sleep(10)), "interrupt")
})

test_that("an interrupt in the progress callback is passed on as a value", {
  expect_equal(as_callback(function(...) NULL)(1), "done")
  stopped <- as_callback(function(...) {
    signalCondition(structure(class = c("interrupt", "condition"), list()))
  })
  expect_equal(stopped(1), "interrupt")
})
