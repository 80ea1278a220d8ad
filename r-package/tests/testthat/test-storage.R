test_that("the fit folder has the bytes that the fit carries", {
  skip_if_no_engine()
  folder <- file.path(tempfile(), "deep")
  expect_identical(spice_save(example_fit, folder), folder)
  expect_equal(read_folder(folder), example_fit$files[order(names(example_fit$files))], ignore_attr = TRUE)
  unlink(folder, recursive = TRUE)
})

test_that("other files are kept, beside a fit or without one", {
  skip_if_no_engine()
  folder <- tempfile()
  spice_save(example_fit, folder)
  writeLines("mine", file.path(folder, "group.csv"))
  spice_save(example_fit, folder)
  expect_setequal(list.files(folder, recursive = TRUE), c("group.csv", names(example_fit$files)))
  for (name in c("thesis.docx", "fit.json")) {
    other <- tempfile()
    dir.create(other)
    writeLines("{}", file.path(other, name))
    expect_error(spice_save(example_fit, other), "not a fit folder", class = "spicestat_error_storage")
    expect_equal(list.files(other), name)
  }
})

test_that("names are taken as they are, whatever they would stand for in a shell", {
  skip_if_no_engine()
  old <- setwd(tempdir())
  on.exit(setwd(old))
  dir.create("here")
  setwd("here")
  others <- c("x1", "x12", "res", "results", "fit.partial")
  for (name in others) {
    dir.create(name)
    writeLines("mine", file.path(name, "thesis.txt"))
  }
  for (name in c("x[12]", "res*", "fit", "{a,b}")) {
    spice_save(example_fit, name)
    spice_save(example_fit, name)
    expect_equal(spice_load(name)$coefficients, example_fit$coefficients)
  }
  expect_setequal(list.files(), c(others, "x[12]", "res*", "fit", "{a,b}"))
  expect_true(all(file.exists(file.path(others, "thesis.txt"))))
})

test_that("a stranger's fit writes nowhere but into its folder", {
  skip_if_no_engine()
  outside <- file.path(tempdir(), "outside.txt")
  for (name in c("../../outside.txt", "../outside.txt", outside, "a/../../outside.txt", ".Rprofile")) {
    hostile <- example_fit
    hostile$files[[name]] <- charToRaw("x")
    expect_error(spice_save(hostile, tempfile()), "impossible name", class = "spicestat_error_storage")
    expect_error(simulate(hostile), "impossible name", class = "spicestat_error_storage")
  }
  expect_false(file.exists(outside))
})

test_that("a fit whose files were changed or are missing is refused", {
  skip_if_no_engine()
  other <- example_fit
  other$files$equations.json <- c(other$files$equations.json, charToRaw(" "))
  expect_error(spice_save(other, tempfile()), "has changed", class = "spicestat_error_storage")
  other$files$equations.json <- NULL
  expect_error(spice_save(other, tempfile()), "is missing", class = "spicestat_error_storage")
})

test_that("what cannot be saved or loaded is refused", {
  expect_error(spice_save(1, tempfile()), class = "spicestat_error_config")
  expect_error(spice_save(example_fit, 3), class = "spicestat_error_storage")
  expect_error(spice_load(NULL), class = "spicestat_error_storage")
  skip_if_no_engine()
  file <- tempfile()
  file.create(file)
  expect_error(spice_save(example_fit, file), class = "spicestat_error_storage")
  expect_error(spice_save(example_fit, file.path(file, "below")), class = "spicestat_error_storage")
  expect_error(spice_load(tempfile()), class = "spicestat_error_storage")
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
