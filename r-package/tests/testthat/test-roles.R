# pairs of four items on two sides; what was won is remembered wherever the item is
pairs <- function(n_people = 10, n_trials = 60) {
  set.seed(3)
  rows <- lapply(seq_len(n_people), function(person) {
    values <- c(A = 0, B = 0, C = 0, D = 0)
    odds <- c(A = 0.8, B = 0.6, C = 0.4, D = 0.2)
    made <- lapply(seq_len(n_trials), function(trial) {
      items <- sample(names(values), 2)
      side <- 1 + (stats::runif(1) < stats::plogis(6 * diff(values[items])))
      item <- items[[side]]
      won <- as.numeric(stats::runif(1) < odds[[item]])
      values[[item]] <<- values[[item]] + 0.4 * (won - values[[item]])
      data.frame(
        subject = sprintf("s%02d", person), trial = trial, stim_left = items[[1]], stim_right = items[[2]],
        resp = c("left", "right")[[side]], item = item, won = won, lost = 1 - won
      )
    })
    do.call(rbind, made)
  })
  do.call(rbind, rows)
}

same_as_python <- function(fit, trials, ...) {
  path <- tempfile(fileext = ".csv")
  on.exit(unlink(path))
  utils::write.csv(trials, path, row.names = FALSE)
  direct <- python_module("spicestat")$spice_fit(path, participant = "subject", trial = "trial", ...)
  expected <- reticulate::py_to_r(direct$coefficients$frame[["pooled"]]$tolist())
  expect_equal(fit$coefficients$pooled, expected, tolerance = 1e-12)
}

test_that("options, by position and as items, are those of the engine", {
  skip_if_no_engine()
  trials <- pairs()
  by_place <- trials[setdiff(names(trials), c("item", "lost"))]
  places <- spice_fit(by_place, subject, resp, won, trial = trial, options = c(left = stim_left, right = stim_right))
  same_as_python(
    places, by_place,
    choice = "resp", reward = "won", options = list(left = "stim_left", right = "stim_right")
  )
  by_item <- trials[setdiff(names(trials), c("resp", "lost"))]
  items <- spice_fit(by_item, subject, item, won, trial = trial, options = c("stim_left", "stim_right"))
  same_as_python(items, by_item, choice = "item", reward = "won", options = list("stim_left", "stim_right"))
  found <- predict(items)
  expect_named(found, paste0(".pred_", c("A", "B", "C", "D")))
  expect_equal(rowSums(found), rep(1, nrow(trials)))
  there <- outer(trials$stim_left, c("A", "B", "C", "D"), `==`) | outer(trials$stim_right, c("A", "B", "C", "D"), `==`)
  expect_identical(as.matrix(found) > 0, there, ignore_attr = TRUE)
  played <- simulate(items, seed = 1)
  expect_identical(played$stim_left, trials$stim_left)
  expect_true(all(played$choice == played$stim_left | played$choice == played$stim_right))
  expect_gt(mean(played$choice %in% c("A", "B")), 0.6)
  expect_identical(nrow(predict(items, played)), nrow(played))
})

test_that("stimuli, contexts, gains and losses, attributes and tasks without outcomes cross", {
  skip_if_no_engine()
  trials <- pairs(6)
  trials$pair <- paste(pmin(trials$stim_left, trials$stim_right), pmax(trials$stim_left, trials$stim_right))
  trials$load <- rep(c(2, 4), length.out = nrow(trials))
  trials$told <- trials$trial < 5
  told <- trials[c("subject", "trial", "pair", "resp", "won", "lost", "load", "told")]
  fit <- spice_fit(
    told, subject, resp,
    trial = trial, stimulus = pair, context = load, forced = told, gain = won, loss = lost
  )
  same_as_python(
    fit, told,
    choice = "resp", stimulus = "pair", context = "load", forced = "told", gain = "won", loss = "lost"
  )
  expect_identical(is.na(fitted(fit)), told$told)

  steps <- trials[c("subject", "trial", "resp", "won", "stim_left", "item")]
  names(steps)[5:6] <- c("planet", "alien")
  fit <- spice_fit(steps, subject, resp, won, trial = trial, state2 = planet, choice2 = alien)
  same_as_python(fit, steps, choice = "resp", reward = "won", state2 = "planet", choice2 = "alien")

  offers <- data.frame(
    subject = trials$subject, trial = trials$trial, chose = trials$resp,
    a = seq_len(nrow(trials)) %% 7, b = (seq_len(nrow(trials)) * 3) %% 11
  )
  for (attributes in list(list(amount = c("a", "b")), list(amount = c(right = "b", left = "a")))) {
    fit <- spice_fit(offers, subject, chose, NULL, trial = trial, attributes = attributes)
    same_as_python(
      fit, offers,
      choice = "chose", reward = NULL, attributes = list(amount = list("a", "b"))
    )
  }
  bare <- spice_fit(offers, subject, chose, NULL, trial = trial, attributes = list(amount = c(a, b)))
  expect_equal(bare$coefficients, fit$coefficients)
})

test_that("what cannot be a role is refused, and what looks like one is noticed", {
  skip_if_no_engine()
  trials <- pairs(4)
  expect_error(
    spice_fit(trials, subject, resp, won, options = c(left = stim_left, right = stim_rigth)), "stim_rigth",
    class = "spicestat_error_column"
  )
  expect_error(
    spice_fit(trials, subject, resp, won, attributes = c("won", "lost")), "says for each attribute",
    class = "spicestat_error_config"
  )
  expect_warning(
    spice_fit(trials[setdiff(names(trials), c("item", "lost"))], subject, resp, won, trial = trial),
    "look like what was on the screen",
    class = "spicestat_warning_suspicious_data"
  )
})
