# `make test-r` makes a Python with NumPy 1.26 and names it in this variable
old_numpy <- function() {
  python <- Sys.getenv("SPICESTAT_NUMPY1_PYTHON")
  skip_if(!nzchar(python), "no Python with NumPy 1.26 (scripts/setup-numpy1.sh)")
  skip_if_not_installed_here()
  python
}

test_that("tables cross with NumPy 1.26 as they do with NumPy 2", {
  output <- run_in_new_r(c(
    "inside <- new.env(parent = asNamespace('spicestat'))",
    sprintf("sys.source('%s', inside)", normalizePath(test_path("helper-crossing.R"))),
    "evalq({",
    "  cat('numpy', call_bridge('version')$numpy, '\\n')",
    "  failures <- crossing_failures()",
    "  cat('failures:', if (is.null(failures)) 'none' else format(failures), '\\n')",
    "  same <- identical(unname(is.na(through_python(every_type()))), unname(is.na(every_type())))",
    "  cat('missing where it was:', same, '\\n')",
    "}, inside)"
  ), old_numpy())
  expect_match(output, "^numpy 1[.]26", all = FALSE)
  expect_match(output, "^failures: none", all = FALSE)
  expect_match(output, "^missing where it was: TRUE", all = FALSE)
})

test_that("the engine's own process answers with NumPy 1.26, and says what is missing there", {
  skip_if_not_installed("processx")
  output <- run_in_new_r(c(
    "options(spicestat.engine = 'subprocess')",
    "cat('numpy', spicestat:::call_bridge('version')$numpy, '\\n')",
    "found <- tryCatch(predict(example_fit), spicestat_error_install = conditionMessage)",
    "cat(found)"
  ), old_numpy())
  expect_match(output, "^numpy 1[.]26", all = FALSE)
  expect_match(output, "module 'torch' is missing", all = FALSE)
})
