test_that("Ctrl-C ends the engine and is an interrupt in R", {
  skip_if_no_engine()
  skip_on_os("windows")
  code <- paste(
    "import time",
    "from spicestat.r import bridge",
    "def wait():",
    "    return bridge._envelope(lambda: time.sleep(20))",
    sep = "\n"
  )
  module <- reticulate::py_run_string(code, convert = FALSE)
  system(sprintf("(sleep 1; kill -INT %d) &", Sys.getpid()))
  started <- Sys.time()
  outcome <- tryCatch(
    {
      module$wait()
      "finished"
    },
    interrupt = function(condition) "interrupt",
    error = function(error) conditionMessage(error)
  )
  expect_equal(outcome, "interrupt")
  expect_lt(as.numeric(difftime(Sys.time(), started, units = "secs")), 10)
})
