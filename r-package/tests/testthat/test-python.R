test_that("sitrep says what is there", {
  skip_if_no_engine()
  expect_message(state <- spicestat_sitrep(), "reticulate")
  expect_true(is.na(state$problem))
  expect_true(all(c("spicestat", "numpy", "pandas") %in% names(state$versions)))
})

test_that("another protocol is refused", {
  skip_if_no_engine()
  bridge()
  module <- python_module("spicestat.r.bridge")
  old <- module$PROTOCOL
  on.exit({
    module$PROTOCOL <- old
    the$bridge <- NULL
  })
  module$PROTOCOL <- 99L
  the$bridge <- NULL
  expect_error(bridge(), "protocol is version 99", class = "spicestat_error_install")
})

test_that("no file in the working folder is run, whatever it is called", {
  skip_if_no_engine()
  skip_if_not_installed_here()
  folder <- tempfile()
  dir.create(folder)
  for (name in c("html.py", "numexpr.py", "bottleneck.py", "random.py")) {
    writeLines("open('executed', 'a').write('x')", file.path(folder, name))
  }
  for (place in engines) {
    if (place == "subprocess") skip_if_not_installed("processx")
    said <- run_in_new_r(c(
      sprintf("setwd('%s'); options(spicestat.engine = '%s')", normalizePath(folder, "/"), place),
      "cat(spicestat:::call_bridge('load', 'nowhere')$ok)",
      "cat('end')"
    ))
    expect_false(file.exists(file.path(folder, "executed")), info = paste(said, collapse = "\n"))
  }
})
