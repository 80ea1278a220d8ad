# Makes the data sets in data/. Takes half a minute.
# Run in r-package/: RETICULATE_PYTHON=../.venv/bin/python Rscript data-raw/example.R

pkgload::load_all(".", quiet = TRUE)
set.seed(20261122)

n_people <- 24
n_blocks <- 4
n_trials <- 50

people <- data.frame(
  participant = sprintf("p%02d", seq_len(n_people)),
  diagnosis = factor(rep(c("control", "patient"), n_people / 2)),
  age = sample(20:60, n_people, replace = TRUE)
)
alpha <- stats::plogis(stats::rnorm(n_people, ifelse(people$diagnosis == "patient", -0.8, 0.6), 0.4))
beta <- exp(stats::rnorm(n_people, log(3.5), 0.15))

#' Trials of one block of a two-armed bandit with one better arm
simulate_block <- function(person, block) {
  p_reward <- sample(c(0.75, 0.25))
  value <- c(0.5, 0.5)
  choice <- reward <- integer(n_trials)
  for (t in seq_len(n_trials)) {
    # halfway, the better arm becomes the worse one
    if (t == n_trials / 2 + 1) p_reward <- rev(p_reward)
    p_right <- stats::plogis(beta[person] * (value[2] - value[1]))
    choice[t] <- stats::rbinom(1, 1, p_right)
    arm <- choice[t] + 1
    reward[t] <- stats::rbinom(1, 1, p_reward[arm])
    value[arm] <- value[arm] + alpha[person] * (reward[t] - value[arm])
  }
  data.frame(participant = people$participant[person], block, trial = seq_len(n_trials), choice, reward)
}

design <- expand.grid(block = seq_len(n_blocks), person = seq_len(n_people))
trials <- do.call(rbind, Map(simulate_block, design$person, design$block))
example_trials <- tibble::as_tibble(merge(trials, people, sort = FALSE))

example_fit <- spice_fit(
  example_trials, participant, choice, reward,
  block = block, trial = trial, model = "choice", seed = 1
)
example_group <- spice_group(example_fit, ~ diagnosis + age)
print(example_fit)
print(example_group)

save(example_trials, file = "data/example_trials.rda", compress = "xz", version = 2)
save(example_fit, file = "data/example_fit.rda", compress = "xz", version = 2)
save(example_group, file = "data/example_group.rda", compress = "xz", version = 2)
