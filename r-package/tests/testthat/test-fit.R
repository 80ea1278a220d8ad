# the model that is fitted fastest, by a network that learns for two epochs, which is no better than guessing
fit_to <- function(data, ..., model = "rescorla_wagner") {
  suppressWarnings(
    spice_fit(data, subject, pick, points, ..., model = model, epochs = 2, progress = FALSE),
    classes = "spicestat_warning_contradiction"
  )
}

test_that("arguments are checked before Python is asked", {
  data <- little_trials()
  expect_error(spice_fit(data, subject, pick, rewards), "no column 'rewards'", class = "spicestat_error_column")
  expect_error(spice_fit(data, subject, pick), "`reward` must name a column", class = "spicestat_error_column")
  expect_error(spice_fit(1:3, a, b, c), "data frame or the path", class = "spicestat_error_column")
  expect_error(fit_to(data, epochs_per = NA), class = "spicestat_error_config")
  expect_error(engine_options(list(1), NULL), "must be named", class = "spicestat_error_config")
  expect_error(fit_to(data, optimizer = mean), class = "spicestat_error_config")
})

test_that("settings cross as Python types", {
  settings <- engine_options(
    list(seed = 1, rate = 0.5, none = NULL, inputs = "x", reward = c("a", "b"), on = TRUE), NULL
  )
  expect_identical(
    settings,
    list(seed = 1L, rate = 0.5, inputs = list("x"), reward = list("a", "b"), on = TRUE)
  )
})

test_that("a checkpoint is where R is, and of one fit only", {
  expect_identical(absolute_path("new/folder"), file.path(getwd(), "new/folder"))
  expect_identical(absolute_path("/there"), "/there")
  expect_null(absolute_path(NULL))
  skip_if_no_engine()
  folder <- tempfile()
  dir.create(folder)
  before <- setwd(folder)
  on.exit(setwd(before))
  data <- little_trials()
  kept <- function() suppressWarnings(fit_to(data, checkpoint = "training"), classes = "spicestat_warning_convergence")
  first <- kept()
  expect_true(file.exists("training/training.safetensors"))
  expect_identical(tidy(kept()), tidy(first))
  expect_error(
    fit_to(data, checkpoint = "training", seed = 5), "another training run",
    class = "spicestat_error_storage"
  )
})

test_that("bad data is refused with the class of its code", {
  skip_if_no_engine()
  data <- little_trials()
  text_reward <- transform(data, points = as.character(ifelse(points == 1, "win", "loss")))
  expect_error(fit_to(text_reward), "must be numeric", class = "spicestat_error_column")
  constant <- transform(data, pick = 1)
  expect_error(fit_to(constant), class = "spicestat_error_data")
  varying <- transform(data, age = seq_along(age))
  expect_error(fit_to(varying, covariates = age), "varies within", class = "spicestat_error_covariate")
  expect_error(fit_to(data, model = "no such model"), class = "spicestat_error_config")
  expect_error(
    spice_fit("/no/such/file.csv", subject, pick, points, progress = FALSE),
    class = "spicestat_error_storage"
  )
})

test_that("a participant with one trial is counted in a warning", {
  skip_if_no_engine()
  data <- little_trials()
  data <- rbind(data, transform(data[1, ], subject = "short"))
  warned <- list()
  withCallingHandlers(fit_to(data), spicestat_warning = function(condition) {
    warned <<- c(warned, list(condition))
    rlang::cnd_muffle(condition)
  })
  expect_match(vapply(warned, conditionMessage, ""), "short", all = FALSE)
  # twenty random choices may also leave equations unidentified, which is a warning of its own
  classes <- vapply(warned, function(condition) class(condition)[[1]], "")
  expect_true("spicestat_warning_exclusion" %in% classes)
  expect_length(setdiff(classes, c("spicestat_warning_exclusion", "spicestat_warning_convergence")), 0)
})

test_that("a data frame and its file give the same fit, which Python can load", {
  skip_if_no_engine()
  data <- little_trials()
  file <- tempfile(fileext = ".csv")
  utils::write.csv(data, file, row.names = FALSE)
  fit <- suppressWarnings(fit_to(data, covariates = "age"))
  from_file <- suppressWarnings(fit_to(file, covariates = "age"))
  expect_s3_class(fit, "spice_fit")
  expect_equal(from_file$coefficients, fit$coefficients)
  expect_equal(fit$people$age, 21:23)
  expect_gt(length(fit$files), 0)
  folder <- tempfile()
  spice_save(fit, folder)
  again <- spice_load(folder)
  expect_equal(again$coefficients, fit$coefficients)
  expect_equal(again$files, fit$files)
})

test_that("progress calls reach the callback as plain values", {
  skip_if_no_engine()
  seen <- list()
  callback <- as_callback(function(...) seen <<- c(seen, list(list(...))))
  code <- "def call(f):\n    f('rnn', 1, 10, 'loss {x}')"
  reticulate::py_run_string(code, convert = FALSE)$call(callback)
  expect_equal(seen, list(list("rnn", 1L, 10L, "loss {x}")))
})

test_that("progress bars take any message and change of stage", {
  show <- new_progress(TRUE)
  expect_no_error_here <- function() {
    show("rnn", 1, 10, "loss {0.5}")
    show("rnn", 10, 10, "")
    show("equations", 0, 0, "")
    show("another", 1, 2, "x")
    TRUE
  }
  expect_true(expect_no_error_here())
  expect_null(new_progress(FALSE))
})

test_that("ids keep their type, factors their levels, and missing covariates stay missing", {
  skip_if_no_engine()
  data <- little_trials()
  data$subject <- match(data$subject, letters)
  data$pick <- factor(ifelse(data$pick == 1, "right", "left"), levels = c("right", "left"))
  people <- data.frame(subject = c("1", "2", "3"), sex = factor(c("m", NA, "f"), levels = c("m", "f")))
  fit <- suppressWarnings(fit_to(data, people = people))
  expect_type(fit$coefficients$participant, "integer")
  expect_equal(fit$people$participant, 1:3)
  expect_equal(fit$people$sex, people$sex)
})

test_that("rewards that are a factor, dates of trials, and arguments with a slip of the pen are refused", {
  trials <- data.frame(id = 1, pick = 1, pay = factor(c(0, 1)))
  expect_error(spice_fit(trials, id, pick, pay), "as.numeric(as.character(pay))",
    fixed = TRUE, class = "spicestat_error_column"
  )
  dated <- data.frame(id = 1, pick = 1, pay = c(0, 1), day = as.Date("2026-11-29") + 0:1)
  expect_error(spice_fit(dated, id, pick, pay, trial = day), "as.numeric(day)",
    fixed = TRUE, class = "spicestat_error_column"
  )
  expect_error(spice_fit(trials, id, pick, pay, pepole = trials), "Did you mean `people`?",
    fixed = TRUE, class = "spicestat_error_config"
  )
})

test_that("equations come from some blocks and coefficients from the others, as in Python", {
  skip_if_no_engine()
  trials <- subset(example_trials, participant %in% sprintf("p%02d", 1:4) & trial <= 25)
  split_at <- function(..., model = "rescorla_wagner") {
    suppressWarnings(
      spice_fit_split(trials, participant, choice, reward,
        block = block, model = model, epochs = 2, progress = FALSE, ...
      )
    )
  }
  fit <- split_at(share = 0.25, split_seed = 3)
  engine <- python_module("spicestat")
  theirs <- suppressWarnings(engine$spice_fit_split(
    trials[c("participant", "block", "choice", "reward")],
    block = "block", model = "rescorla_wagner", epochs = 2L, share = 0.25, split_seed = 3L
  ))
  expect_equal(nobs(fit), reticulate::py_to_r(theirs$glance()$nobs$item()))
  expect_equal(fit$coefficients$estimate, as.numeric(reticulate::py_to_r(theirs$coefficients$frame$estimate$tolist())))
  expect_lt(nobs(fit), nobs(example_fit) * 4 / 24)
  expect_equal(update(fit, share = 0.5, evaluate = FALSE)[[1]], quote(spice_fit_split))
  expect_error(split_at(model = "history"), "predict", class = "spicestat_error_config")
  expect_error(split_at(share = 2), "share", class = "spicestat_error_config")
  expect_error(split_at(halve_single = 1), "TRUE or FALSE", class = "spicestat_error_config")
})
