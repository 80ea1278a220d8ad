test_that("the fit folder has the bytes that the fit carries", {
  folder <- file.path(tempfile(), "deep")
  expect_identical(spice_save(example_fit, folder), folder)
  expect_equal(read_folder(folder), example_fit$files[order(names(example_fit$files))], ignore_attr = TRUE)
  unlink(folder, recursive = TRUE)
})

test_that("an older fit in the folder is replaced as a whole, anything else is kept", {
  folder <- tempfile()
  spice_save(example_fit, folder)
  file.create(file.path(folder, "of_an_older_fit.parquet"))
  spice_save(example_fit, folder)
  expect_setequal(list.files(folder, recursive = TRUE), names(example_fit$files))
  other <- tempfile()
  dir.create(other)
  file.create(file.path(other, "thesis.docx"))
  expect_error(spice_save(example_fit, other), "no fit folder", class = "spicestat_error_storage")
  expect_equal(list.files(other), "thesis.docx")
})

test_that("what cannot be saved or loaded is refused", {
  expect_error(spice_save(1, tempfile()), class = "spicestat_error_config")
  file <- tempfile()
  file.create(file)
  expect_error(spice_save(example_fit, file), class = "spicestat_error_storage")
  expect_error(spice_save(example_fit, file.path(file, "below")), class = "spicestat_error_storage")
  expect_error(spice_save(example_fit, 3), class = "spicestat_error_storage")
  expect_error(spice_load(tempfile()), class = "spicestat_error_storage")
  expect_error(spice_load(NULL), class = "spicestat_error_storage")
})

test_that("a folder that is no fit is refused by the engine", {
  skip_if_no_engine()
  folder <- tempfile()
  dir.create(folder)
  expect_error(spice_load(folder), class = "spicestat_error_storage")
})

test_that("the shipped fit is one that the engine can load", {
  skip_if_no_engine()
  folder <- tempfile()
  spice_save(example_fit, folder)
  expect_equal(spice_load(folder)$coefficients, example_fit$coefficients)
})
