delta_rule <- function(...) {
  spice_model(
    list(
      spice_module("x_rate", "x_value", uses = c("c_reward", "x_value"), kind = "rate", cells = "chosen"),
      spice_module("x_forgetting", "x_value", cells = "not_chosen")
    ),
    states = c(x_value = 0.5), ...
  )
}

test_that("a model says what it is, without Python", {
  model <- delta_rule(name = "mine")
  lines <- format(model)
  expect_match(lines, "<spice_model> mine", all = FALSE)
  update <- "x_value of the chosen action <- x_value + x_rate(itself, c_reward, x_value)"
  expect_match(lines, update, fixed = TRUE, all = FALSE)
  expect_match(lines, "Log odds of a choice: beta * x_value", fixed = TRUE, all = FALSE)
  expect_output(expect_identical(print(model), model), "x_forgetting")
  expect_match(format(delta_rule(betas = character())), "choice: x_value", all = FALSE)
})

test_that("mistakes are found before Python is asked", {
  module <- spice_module("x_a", "x_value")
  expect_error(spice_model(list(), c(x_value = 0)), class = "spicestat_error_config")
  expect_error(spice_model(module, 0), "with names", class = "spicestat_error_config")
  expect_error(spice_model(module, c(x_other = 0)), "`target` of x_a.*x_other", class = "spicestat_error_config")
  expect_error(spice_model(module, c(x_value = 0), betas = "x"), "`betas`", class = "spicestat_error_config")
  bad <- spice_module("x_a", "x_value", uses = "c_price")
  expect_error(spice_model(bad, c(x_value = 0)), "c_price", class = "spicestat_error_config")
  expect_s3_class(spice_model(bad, c(x_value = 0), inputs = "price"), "spice_model")
  expect_error(spice_module("x_a", "x_value", kind = "speed"), "value, rate", class = "spicestat_error_config")
  expect_error(spice_module(1, "x_value"), "`name`", class = "spicestat_error_config")
  expect_error(
    spice_fit(little_trials(), subject, pick, points, model = 1),
    "spice_model", class = "spicestat_error_config"
  )
})

test_that("it crosses as lists that keep their shape", {
  sent <- sent_declaration(delta_rule())
  expect_identical(sent$states, list(list("x_value", 0.5)))
  expect_identical(sent$betas, list("x_value"))
  expect_identical(sent$inputs, list())
  expect_identical(sent$modules[[1]]$inputs, list("c_reward", "x_value"))
})

test_that("a model of named parts is fitted, saved, loaded and analysed", {
  skip_if_no_engine()
  few <- subset(example_trials, participant %in% sprintf("p%02d", 1:4) & trial <= 12)
  fit_with <- function(model) {
    spice_fit(few, participant, choice, reward, block = block, model = model, epochs = 3, progress = FALSE)
  }
  own <- suppressWarnings(fit_with(delta_rule()))
  expect_equal(glance(own)$model, "declared")
  known <- suppressWarnings(fit_with("learning_rate"))
  expect_equal(own$coefficients$estimate, known$coefficients$estimate)
  folder <- tempfile()
  spice_save(own, folder)
  expect_match(readLines(file.path(folder, "fit.json"), warn = FALSE), "x_forgetting", all = FALSE)
  expect_equal(spice_load(folder)$coefficients, own$coefficients)
  expect_s3_class(suppressWarnings(spice_group(own, ~1)), "spice_group")
})

test_that("a column can be an input", {
  skip_if_no_engine()
  data <- little_trials()
  set.seed(4)
  data$cue <- stats::rnorm(nrow(data))
  model <- spice_model(
    spice_module("x_cued", "x_cued", uses = "c_cue", cells = "chosen"),
    states = c(x_cued = 0), betas = character(), inputs = "cue"
  )
  fit <- suppressWarnings(spice_fit(data, subject, pick, points, model = model, epochs = 2, progress = FALSE))
  expect_true("c_cue" %in% tidy(fit)$term)
  data$cue <- NULL
  expect_error(
    spice_fit(data, subject, pick, points, model = model, epochs = 2, progress = FALSE),
    class = "spicestat_error_column"
  )
})

test_that("a Python class is fitted, and loaded in the same session", {
  skip_if_no_engine()
  code <- paste(
    "from spicestat.models.precoded import RescorlaWagnerRNN",
    "class Own(RescorlaWagnerRNN):",
    "    pass",
    sep = "\n"
  )
  own <- reticulate::py_run_string(code, convert = FALSE)$Own
  config <- list(
    rnn_modules = "x_value_reward_chosen", control_parameters = c("c_action", "c_reward"),
    library_setup = list(x_value_reward_chosen = "c_reward"),
    filter_setup = list(x_value_reward_chosen = list("c_action", 1, TRUE))
  )
  model <- spice_python_model(own, config)
  expect_output(print(model), "spice_python_model")
  fit <- suppressWarnings(
    spice_fit(little_trials(), subject, pick, points, model = model, epochs = 2, progress = FALSE)
  )
  expect_equal(glance(fit)$model, "Own")
  expect_equal(nrow(predict(fit)), nrow(little_trials()))
  expect_error(spice_python_model("Own", config), class = "spicestat_error_config")
  expect_error(spice_python_model(own, 1), class = "spicestat_error_config")
  local_engine("subprocess")
  expect_error(sent_model(model, NULL), "spice_model\\(\\)", class = "spicestat_error_config")
})
