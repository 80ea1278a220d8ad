test_that("a saved fit is printed, tidied and plotted where there is no Python", {
  skip_on_cran()
  skip_if_not_installed_here()
  file <- tempfile(fileext = ".rds")
  saveRDS(list(example_fit, example_group), file)
  output <- run_without_python(c(
    sprintf("for (x in readRDS('%s')) {", file),
    "  print(x); print(summary(x)); print(tidy(x, conf.int = TRUE)); print(glance(x))",
    "  if (requireNamespace('ggplot2')) invisible(ggplot2::ggplot_build(ggplot2::autoplot(x)))",
    "}",
    "cat('available:', spicestat_available(), 'started:', reticulate::py_available(), '\\n')"
  ))
  expect_match(output, "available: FALSE started: FALSE", all = FALSE)
  expect_false(any(grepl("^Error", output)))
})

test_that("without Python the advice is to install it", {
  skip_on_cran()
  skip_if_not_installed_here()
  output <- run_without_python(c(
    "found <- tryCatch(spice_group(example_fit, ~ age), spicestat_error_install = function(e) 'classed')",
    "print(found)",
    "state <- spicestat_sitrep()",
    "cat('problem:', !is.na(state$problem), '\\n')"
  ))
  expect_match(output, "classed", all = FALSE)
  expect_match(output, "problem: TRUE", all = FALSE)
})

test_that("loading the package starts no Python", {
  skip_on_cran()
  skip_if_not_installed_here()
  output <- run_without_python("cat('started:', reticulate::py_available(), '\\n')")
  expect_match(output, "started: FALSE", all = FALSE)
})
