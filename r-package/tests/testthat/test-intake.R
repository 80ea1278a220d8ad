# Columns, ids and values as other software leaves them: read as they are meant, or named with the remedy.

labelled <- function(x, labels, ...) {
  structure(x, labels = labels, class = c("haven_labelled", "vctrs_vctr", "double"), ...)
}

test_that("labelled columns are factors where all values have labels, and numbers elsewhere", {
  group <- labelled(c(0, 1, NA), c(control = 0, patient = 1))
  expect_identical(plain_column(group), factor(c("control", "patient", NA), c("control", "patient")))
  expect_identical(plain_column(labelled(c(31, 99), c(unknown = 99))), c(31, 99))
  spss <- labelled(c(31, 99, -5), c(unknown = 99), na_values = 99, na_range = c(-9, -1))
  expect_identical(plain_column(spss), c(31, NA, NA))
})

test_that("matrices of one column, old-fashioned labels and 64-bit integers are plain columns", {
  expect_identical(plain_column(scale(c(1, 2, 3))), c(-1, 0, 1))
  expect_equal(plain_column(structure(1:3, label = "Age", class = c("labelled", "integer"))), 1:3, ignore_attr = TRUE)
  expect_identical(plain_column(I(c("a", "b"))), c("a", "b"))
  table <- data.frame(x = 1:2)
  table$n <- structure(c(5e-324, 1e-323), class = "integer64")
  expect_equal(decode_table(encode_table(table))$n, 1:2)
})

test_that("columns that cannot be used are named in a warning, and those that are needed in an error", {
  table <- data.frame(x = 1:2)
  table$wide <- scale(cbind(1:2, 3:4))
  table$gap <- as.difftime(1:2, units = "mins")
  table$list <- list(1, 2)
  expect_warning(
    sent <- encode_table(table, optional = names(table)),
    "cannot be used: 'wide' (matrix), 'gap' (difftime), 'list' (list)",
    fixed = TRUE, class = "spicestat_warning_suspicious_data"
  )
  expect_identical(names(decode_table(sent)), "x")
  expect_error(encode_table(table, optional = "x"), class = "spicestat_error_column")
})

test_that("`missing` is values for all columns, or lists by column", {
  expect_null(missing_values(NULL, NULL))
  expect_identical(missing_values(c(-99, -98), NULL), list(-99, -98))
  expect_identical(missing_values(list(age = -99, sex = c("NR", "?"), iq = list()), NULL), list(
    age = list(-99), sex = list("NR", "?"), iq = list()
  ))
  expect_identical(missing_values(c(age = -99), NULL), list(age = list(-99)))
  for (bad in list(NA, list(age = NA), list(-99, age = 1), list(mean))) {
    expect_error(missing_values(bad, NULL), "`missing` must be numbers and text", class = "spicestat_error_config")
  }
})

test_that("values are made missing, blank text too, and ids stay", {
  people <- data.frame(id = c("-99", "b", "c"), age = c("31", "n.a.", "44"), sex = c("f ", "", "NR"), n = c(1, -99, 2))
  plain <- plain_people(people, "id", missing_values(c("n.a.", "NR", "-99"), NULL))
  expect_identical(plain, data.frame(
    id = people$id, age = c(31, NA, 44), sex = c("f", NA, NA), n = c(1, NA, 2)
  ))
  factors <- plain_people(data.frame(id = 1:3, g = factor(c("b", "", "a"), c("", "b", "a"))), "id", NULL)
  expect_identical(factors$g, factor(c("b", NA, "a"), c("b", "a")))
  expect_identical(plain_people(people, "id", list(n = list(-99)))$age, people$age)
  # addNA() says that a missing value is a category, as lm() has it
  meant <- data.frame(id = 1:4, g = addNA(factor(c("b", NA, "a", "b"))))
  expect_identical(levels(plain_people(meant, "id", NULL)$g), c("a", "b", "NA"))
  expect_identical(colnames(model.matrix(~g, plain_people(meant, "id", NULL))), colnames(model.matrix(~g, meant)))
  expect_identical(plain_people(meant, "id", list(g = list("NA")))$g, factor(c("b", NA, "a", "b")))
})

test_that("recommended arguments are code of R", {
  expect_identical(
    r_remedies("pass missing={'age': [-99]}; if not, missing={'age': []} or missing={'a b': ['x', 'y']}"),
    "pass missing = list(age = -99); if not, missing = list(age = list()) or missing = list(`a b` = c('x', 'y'))"
  )
})

people_of <- function() {
  people <- example_fit$people
  data.frame(
    participant = as.character(people$participant), age = people$age, diagnosis = as.character(people$diagnosis)
  )
}

for (method in c("metafor", "meta")) {
  skip_method <- function() if (method == "metafor") testthat::skip_if_not_installed("metafor") else skip_if_no_engine()
  effects <- function(data, formula = ~age, ...) {
    suppressWarnings(tidy(spice_group(example_fit, formula, data = data, method = method, ...)))
  }

  test_that(paste("codes among covariates are refused or noticed, with the line that reads them right:", method), {
    skip_method()
    people <- people_of()
    expected <- effects(people[-4, ])
    people$age[4] <- -999
    expect_error(
      spice_group(example_fit, ~age, data = people, method = method), "missing = list(age = -999)",
      fixed = TRUE, class = "spicestat_error_covariate"
    )
    expect_equal(effects(people, missing = list(age = -999)), expected)
    expect_equal(effects(people, missing = -999), expected)
    people$age[4] <- -1
    expect_warning(
      spice_group(example_fit, ~age, data = people, method = method), "missing = list(age = -1)",
      fixed = TRUE, class = "spicestat_warning_suspicious_data"
    )
  })

  test_that(paste("numbers that came as text and blank categories are no categories:", method), {
    skip_method()
    people <- people_of()
    expected <- effects(people[-4, ])
    groups <- effects(people[-3, ], ~diagnosis)
    people$diagnosis[3] <- " "
    expect_warning(
      found <- spice_group(example_fit, ~diagnosis, data = people, method = method),
      "1 of 24 participants lack 'diagnosis'",
      class = "spicestat_warning_exclusion"
    )
    expect_equal(tidy(found), groups)
    people$age <- as.character(people$age)
    people$age[4] <- "n.a."
    expect_error(effects(people), "age", class = "spicestat_error_covariate")
    expect_equal(effects(people, missing = list(age = "n.a.")), expected)
  })

  test_that(paste("ids that look alike but differ are an error that names both:", method), {
    skip_method()
    people <- people_of()
    people$participant[2] <- "p2"
    expect_error(
      spice_group(example_fit, ~age, data = people, method = method), "'p02' and 'p2'",
      class = "spicestat_error_covariate"
    )
    people$participant[2] <- " p02"
    expect_equal(effects(people), effects(people_of()))
  })
}

test_that("R notices what the engine notices", {
  ages <- c(31, 44, 25, 38, 29, 51, 47, 33, 40, 36, 28, 30)
  noticed <- function(x, pattern) {
    expect_warning(
      notice_covariates(data.frame(x = x), NULL, character(), NULL), pattern,
      class = "spicestat_warning_suspicious_data"
    )
  }
  silent <- function(x) expect_silent(notice_covariates(data.frame(x = x), NULL, character(), NULL))
  noticed(c(rep(0:1, 10), -1), "the value -1 in 1 of 21")
  noticed(c(rep(1:2, 10), 0), "the value 0 in 1 of 21")
  noticed(c(rep(1:2, 10), 9), "the value 9 in 1 of 21")
  noticed(c(rep(50 + 1:60, 2), rep(10, 5), rep(-1, 5)), "the value -1 in 5 of 130")
  silent(rep(-1:1, 10))
  noticed(rep(c("7", "007", "b"), 5), "differ only in case, blanks or zeros around a number")
  noticed(rep(c("A", "a"), 5), "differ only in case, blanks or zeros around a number")
  silent(rep(c("1.1", "1.10", "b"), 5))
  noticed(as.character(ages), "numbers that are stored as text")
  noticed(sub("$", ",5", ages), "numbers that are stored as text")
  silent(sprintf("%03d", ages))
  noticed(c(rep(c("con", "pat"), 10), "-99"), "has '-99' in 1 of 21")
  silent(rep(c("con", "pat"), 10))
})

few_trials <- function() {
  few <- subset(example_trials, participant %in% c("p01", "p02", "p03") & trial <= 16)
  few <- few[c("participant", "block", "trial", "choice", "reward")]
  few$participant <- as.character(few$participant)
  few
}

quick_fit <- function(...) {
  suppressWarnings(
    spice_fit(..., model = "rescorla_wagner", epochs = 2, progress = FALSE),
    classes = c("spicestat_warning_convergence", "spicestat_warning_contradiction")
  )
}

test_that("people of a fit keep all columns that can be used", {
  skip_if_no_engine()
  people <- data.frame(participant = c("p01", "p02", "p03"), age = c(20, 30, 40))
  people$group <- labelled(c(0, 1, 0), c(control = 0, patient = 1))
  people$age_z <- scale(people$age)
  people$n <- structure(c(5e-324, 1e-323, 5e-324), class = "integer64")
  fit <- quick_fit(few_trials(), participant, choice, reward, block = block, trial = trial, people = people)
  expect_equal(as.data.frame(fit$people), data.frame(
    participant = people$participant, age = people$age, group = factor(c("control", "patient", "control")),
    age_z = c(-1, 0, 1), n = c(1, 2, 1)
  ))
})

test_that("codes among choices are noticed, and missing trials where `missing` says so", {
  skip_if_no_engine()
  few <- few_trials()
  missed <- seq_len(nrow(few)) %% 12 == 5
  expected <- few
  expected$choice[missed] <- NA
  few$choice <- as.character(few$choice)
  few$choice[missed] <- "NR"
  few$reward[missed] <- 0
  roles <- list(participant = "participant", choice = "choice", reward = "reward", block = "block", trial = "trial")
  fit <- function(...) do.call(quick_fit, c(list(...), roles))
  expect_warning(fit(few), "missing = list(choice = 'NR')", fixed = TRUE, class = "spicestat_warning_suspicious_data")
  expect_equal(fit(few, missing = list(choice = "NR"))$coefficients, fit(expected)$coefficients)
})

test_that("ids in files stay as written, and there may be one file for each participant", {
  skip_if_no_engine()
  few <- few_trials()
  folder <- tempfile()
  dir.create(folder)
  on.exit(unlink(folder, recursive = TRUE))
  ids <- c(p01 = "001", p02 = "1.10", p03 = "60e14")
  for (id in names(ids)) {
    own <- few[few$participant == id, setdiff(names(few), "participant")]
    utils::write.csv2(own, file.path(folder, paste0(ids[[id]], ".csv")), row.names = FALSE)
  }
  files <- list.files(folder, full.names = TRUE)
  fits <- list(
    quick_fit(files, participant, choice, reward, block = block, trial = trial),
    quick_fit(file.path(folder, "*.csv"), participant, choice, reward, block = block, trial = trial)
  )
  for (fit in fits) expect_setequal(unique(tidy(fit)$level), unname(ids))
})

test_that("tidy() in a file is a coefficient table for Python", {
  skip_if_no_engine()
  file <- tempfile(fileext = ".csv")
  on.exit(unlink(file))
  utils::write.csv(tidy(example_fit, conf.int = TRUE), file, row.names = FALSE)
  table <- python_module("spicestat")$read_coefficients(file)
  read <- decode_table(convert(python_module("spicestat.r.columns")$encode_table(table$frame)))
  expect_equal(read$estimate, example_fit$coefficients$estimate)
  expect_equal(read$std_error, example_fit$coefficients$std_error)
  expect_equal(read$selected, example_fit$coefficients$selected)
})
