# a drug weakens staying with what was rewarded; people differ in how much they stay
crossover <- function(n_people = 24) {
  set.seed(1)
  trials <- expand.grid(trial = 1:30, block = 1:4, subject = sprintf("s%02d", seq_len(n_people)))
  trials$drug <- factor(ifelse(trials$block <= 2, "placebo", "verum"), c("placebo", "verum"))
  trials$choice <- stats::rbinom(nrow(trials), 1, 0.5)
  trials$reward <- stats::rbinom(nrow(trials), 1, 0.5)
  stays <- rep(stats::rbeta(n_people, 3, 2), each = 120) * ifelse(trials$drug == "verum", 0.8, 1)
  for (row in which(trials$trial > 1)) {
    last <- trials[row - 1, ]
    if (stats::runif(1) < stays[row]) trials$choice[row] <- if (last$reward == 1) last$choice else 1 - last$choice
  }
  people <- data.frame(
    subject = sprintf("s%02d", seq_len(n_people)), anxiety = round(stats::rnorm(n_people), 2),
    site = rep(c("K", "B", "M"), length.out = n_people)
  )
  list(trials = trials, people = people, sites = data.frame(site = c("K", "B", "M"), beds = c(2, 3, 4)))
}

test_that("effects within people and between sites are those of the engine", {
  skip_if_no_engine()
  study <- crossover()
  fit <- spice_fit(
    study$trials, subject, choice, reward,
    block = block, trial = trial, occasion = drug, people = list(study$people, study$sites)
  )
  table <- tidy(fit)
  expect_setequal(table$level, study$people$subject)
  expect_identical(levels(table$drug), c("placebo", "verum"))
  expect_identical(fit$occasions$column, c("subject", "drug"))
  expect_identical(unique(fit$people$beds[fit$people$site == "M"]), 4)

  formula <- ~ drug * anxiety + (drug | participant) + (1 | site)
  group <- suppressWarnings(spice_group(fit, formula))
  expect_identical(group$method, "hierarchical")
  folder <- tempfile("fit")
  on.exit(unlink(folder, recursive = TRUE))
  spice_save(fit, folder)
  engine <- python_module("spicestat")
  direct <- engine$spice_group(engine$load_fit(folder), "~ drug * anxiety + (drug | participant) + (1 | site)")
  expected <- reticulate::py_to_r(direct$coefficients$estimate$tolist())
  expect_equal(group$coefficients$estimate, expected, tolerance = 1e-12)
  spread <- tidy(group, effects = "ran_pars")
  expect_identical(unique(spread$group), c("participant", "site"))
  by_name <- suppressWarnings(
    spice_group(fit, ~ drug * anxiety + (drug | subject) + (1 | site), data = study$people)
  )
  expect_equal(tidy(by_name), tidy(group))

  new <- data.frame(drug = c("placebo", "verum"), anxiety = 0)
  effect <- tidy(group)
  key <- effect$sparse.term == "rewarded_0"
  shown <- predict(group, new)
  shown <- shown$.fitted[shown$sparse.term == "rewarded_0"]
  expect_equal(diff(shown), effect$estimate[key & effect$term == "drugverum"])
  expect_error(predict(group, new, interval = "prediction"), "random parts", class = "spicestat_error_config")
  expect_error(VarCorr(group), "random parts", class = "spicestat_error_config")
  expect_identical(formula(group), formula, ignore_attr = TRUE)
  expect_error(spice_group(fit, ~drug), "several occasions", class = "spicestat_error_formula")
  expect_error(
    spice_group(fit, ~ drug + (1 | participant), method = "metafor"), "different people",
    class = "spicestat_error_config"
  )
  expect_error(
    spice_group(fit, ~ drug + (1 | participant), method = "ols"), "takes no random parts",
    class = "spicestat_error_config"
  )
})

test_that("the fixed part of a formula is what is left without bars", {
  expect_identical(fixed_part(~ a * b + (a | g) + (1 || h)), ~ a * b, ignore_attr = TRUE)
  expect_identical(fixed_part(~ (1 | g)), ~1, ignore_attr = TRUE)
  expect_identical(fixed_part(~ (1 | g) + a - 1 + ((1 | h))), ~ a - 1, ignore_attr = TRUE)
  expect_identical(fixed_part(~ (a + b)^2), ~ (a + b)^2, ignore_attr = TRUE)
})
