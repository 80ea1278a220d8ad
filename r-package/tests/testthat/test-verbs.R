# the model that is fitted fastest, for what does not depend on it
quick_fit <- function(data, ...) {
  spice_fit(data, subject, pick, points, model = "rescorla_wagner", epochs = 2, progress = FALSE, ...)
}

# one fit of each kind for the whole file
two_fits <- local({
  found <- NULL
  function() {
    if (is.null(found)) {
      few <- example_trials[example_trials$participant %in% sprintf("p%02d", 1:8) & example_trials$trial <= 25, ]
      fit_with <- function(model) {
        suppressWarnings(
          spice_fit(few, participant, choice, reward, block = block, model = model, epochs = 15, progress = FALSE)
        )
      }
      found <<- list(simple = fit_with("rescorla_wagner"), rate = fit_with("learning_rate"))
    }
    found
  }
})

test_that("results call people `participant`, whatever they were called, and are read back", {
  skip_if_no_engine()
  few <- example_trials[example_trials$participant %in% sprintf("p%02d", 1:6), ]
  trials <- data.frame(subject = few$participant, run = few$block, pick = few$choice, points = few$reward)
  fit <- spice_fit(trials, subject, pick, points, block = run)
  for (table in list(fit$people, fit$coefficients, fit$equations, coef(fit), augment(fit))) {
    expect_true("participant" %in% names(table))
  }
  played <- simulate(fit, seed = 1)
  played$sim <- NULL
  theirs <- stats::setNames(played, c("subject", "run", "trial", "pick", "points"))
  expect_equal(predict(fit, played), predict(fit, theirs))
  expect_equal(spice_update(fit, played)$coefficients, spice_update(fit, theirs)$coefficients)
})

test_that("predictions have the likelihood of the fit", {
  skip_if_no_engine()
  probabilities <- predict(example_fit)
  expect_equal(names(probabilities), c(".pred_0", ".pred_1"))
  expect_equal(nrow(probabilities), nrow(example_trials))
  of_choice <- function(p) ifelse(example_trials$choice == 1, p$.pred_1, p$.pred_0)
  own <- of_choice(predict(example_fit, by = "ml"))
  expect_equal(sum(log(own), na.rm = TRUE), as.numeric(logLik(example_fit)), tolerance = 1e-6)
  expect_equal(fitted(example_fit), of_choice(probabilities))
  expect_equal(is.na(probabilities$.pred_0), example_trials$trial == 1)
  expect_equal(predict(example_fit, example_trials), probabilities)
  choice <- predict(example_fit, type = "choice")
  expect_equal(levels(choice), c("0", "1"))
  expect_equal(choice[2] == "0", probabilities$.pred_0[2] >= 0.5)
  expect_false(isTRUE(all.equal(predict(example_fit, by = "network"), probabilities)))
})

test_that("predictions are for rows in their order, and for strangers if asked for", {
  skip_if_no_engine()
  some <- example_trials[example_trials$participant %in% c("p03", "p01"), ]
  whole <- predict(example_fit)$.pred_1
  expect_equal(predict(example_fit, some)$.pred_1, whole[example_trials$participant %in% c("p03", "p01")])
  strangers <- transform(some, participant = paste("new", participant))
  expect_error(predict(example_fit, strangers), "not in the fit", class = "spicestat_error_data")
  expect_false(all(is.na(predict(example_fit, strangers, unseen = "typical"))))
  expect_error(predict(example_fit, type = "class"), "prob, choice", class = "spicestat_error_config")
})

test_that("residuals are those of a logistic regression", {
  skip_if_no_engine()
  chosen <- example_trials$choice
  p <- predict(example_fit)$.pred_1
  expect_equal(residuals(example_fit, "response"), chosen - p)
  expect_equal(residuals(example_fit, "pearson"), (chosen - p) / sqrt(p * (1 - p)))
  deviance <- residuals(example_fit)
  expect_equal(deviance^2, -2 * log(fitted(example_fit)))
  expect_equal(sign(deviance), sign(chosen - p))
  expect_error(residuals(example_fit, "working"), class = "spicestat_error_config")
})

test_that("with more than two actions, residuals have a column for each", {
  skip_if_no_engine()
  set.seed(2)
  data <- little_trials()
  data$pick <- factor(sample(c("left", "middle", "right"), nrow(data), TRUE))
  fit <- suppressWarnings(quick_fit(data))
  raw <- residuals(fit, "response")
  expect_equal(colnames(raw), c("left", "middle", "right"))
  expect_equal(rowSums(raw)[2:20], rep(0, 19))
  expect_length(residuals(fit), nrow(data))
})

test_that("a fit can be updated with other trials, and fitted again with other arguments", {
  skip_if_no_engine()
  fit <- two_fits()$rate
  later <- example_trials[example_trials$block > 2, ]
  names(later)[1] <- "who"
  updated <- spice_update(fit, later, participant = who)
  expect_s3_class(updated, "spice_fit")
  expect_equal(length(unique(tidy(updated)$level)), 24)
  expect_equal(term_names(updated$coefficients), term_names(fit$coefficients))
  expect_equal(names(updated$people), c("participant", "diagnosis", "age"))
  expect_error(spice_update(fit, later), class = "spicestat_error_column")
  expect_error(spice_update(fit, later, participant = nobody), "nobody", class = "spicestat_error_column")
  expect_error(spice_update(1, later), class = "spicestat_error_config")
  call <- update(fit, model = "forgetting", epochs = NULL, evaluate = FALSE)
  expect_equal(call$model, "forgetting")
  expect_null(call$epochs)
  expect_error(update(updated, seed = 2), "spice_load", class = "spicestat_error_config")
})

test_that("update() fits again where the first fit was made", {
  skip_if_no_engine()
  data <- little_trials()
  fit <- suppressWarnings(
    spice_fit(data, subject, pick, points, model = "rescorla_wagner", epochs = 2, progress = FALSE)
  )
  again <- suppressWarnings(update(fit, seed = 0))
  expect_identical(again$coefficients, fit$coefficients)
  other <- suppressWarnings(update(fit, model = "forgetting"))
  expect_equal(other$glance$model, "forgetting")
})

test_that("set.seed() and seed = decide what is drawn", {
  skip_if_no_engine()
  drawn <- function(seed) spice_simulate(3, 16, seed = seed)$trials
  set.seed(5)
  first <- drawn(NULL)
  expect_false(identical(drawn(NULL), first))
  set.seed(5)
  expect_identical(drawn(NULL), first)
  expect_identical(drawn(7), drawn(7))
  set.seed(5)
  played <- simulate(example_fit, n_trials = 3, n_blocks = 1)
  expect_identical(simulate(example_fit, seed = attr(played, "seed"), n_trials = 3, n_blocks = 1), played)
  data <- little_trials()
  fit <- function(seed) suppressWarnings(quick_fit(data, seed = seed))$coefficients
  set.seed(5)
  first <- fit(NULL)
  set.seed(5)
  expect_identical(fit(NULL), first)
  expect_error(fit(1.5), "`seed`", class = "spicestat_error_config")
  expect_error(fit(-1), class = "spicestat_error_config")
})

#' Run code in a Python of its own, as a user of Python starts it, without R's library path
run_in_python <- function(code) {
  variables <- worker_environment()
  printed <- system2(
    Sys.getenv("RETICULATE_PYTHON"), c("-W", "ignore", "-c", shQuote(code)),
    stdout = TRUE, env = paste0("LD_LIBRARY_PATH=", variables[["LD_LIBRARY_PATH"]])
  )
  expect_null(attr(printed, "status"))
  printed
}

test_that("the same fit in R and in Python has identical numbers", {
  skip_if_no_engine()
  data <- little_trials(4, 30)
  file <- tempfile(fileext = ".csv")
  utils::write.csv(data, file, row.names = FALSE)
  fit <- suppressWarnings(
    spice_fit(data, subject, pick, points, model = "rescorla_wagner", epochs = 30, seed = 4, progress = FALSE)
  )
  folder <- tempfile()
  run_in_python(sprintf(
    paste(
      "from spicestat import spice_fit",
      "spice_fit('%s', participant='subject', choice='pick', reward='points', model='rescorla_wagner', epochs=30,
        seed=4).save('%s')",
      sep = "; "
    ), file, folder
  ))
  there <- spice_load(folder)
  expect_identical(there$coefficients, fit$coefficients)
  expect_identical(there$scores, fit$scores)
  expect_identical(there$covariance, fit$covariance)
})

test_that("a simulation has the effects that were asked for", {
  skip_if_no_engine()
  simulated <- spice_simulate(
    30, 8, 2,
    alpha = spice_parameter(0.4, effects = c(diagnosis = -0.2)), environment = spice_bandit("flip"), seed = 1
  )
  patient <- simulated$people$diagnosis == "patient"
  expect_equal(unique(simulated$truth$alpha[patient]), 0.2)
  expect_equal(unique(simulated$truth$alpha[!patient]), 0.4)
  expect_equal(nrow(as_tibble(simulated)), 240)
  expect_true(all(c("choice", "age") %in% names(as_tibble(simulated))))
  expect_output(expect_identical(print(simulated), simulated), "30 participants")
})

test_that("tasks and parameters are checked", {
  expect_error(spice_simulate(3, 8, alpha = 0.3), "spice_parameter", class = "spicestat_error_config")
  expect_error(spice_simulate(3, 8, 4, spice_parameter(1)), "named", class = "spicestat_error_config")
  expect_error(spice_parameter("high"), "`mean`", class = "spicestat_error_config")
  expect_error(spice_parameter(1, effects = 2), "`effects`", class = "spicestat_error_config")
  expect_error(spice_bandit("chess"), "drift", class = "spicestat_error_config")
  expect_error(spice_simulate(environment = "drift"), "spice_bandit", class = "spicestat_error_config")
  expect_error(spice_bandit("drift", n_arms = 3), "n_arms.*n_actions", class = "spicestat_error_config")
  expect_output(print(spice_bandit("standard", reward_probs = c(0.8, 0.5))), "reward_probs = 0.8 0.5")
  skip_if_no_engine()
  expect_error(spice_simulate(3, 8, environment = spice_bandit("flip", speed = 1)), "speed",
    class = "spicestat_error_config"
  )
  expect_error(spice_simulate(3, 8, gamma = spice_parameter(1)), "gamma", class = "spicestat_error_config")
})

test_that("the participants of a fit play with their own labels", {
  skip_if_no_engine()
  played <- simulate(example_fit, nsim = 2, seed = 1, n_trials = 5, n_blocks = 2, environment = spice_bandit("flip"))
  expect_equal(nrow(played), 2 * 24 * 10)
  expect_setequal(played$participant, example_fit$people$participant)
  expect_setequal(played$choice, 0:1)
  expect_identical(attr(played, "seed"), 1L)
  whole <- simulate(example_fit, seed = 1)
  expect_equal(nrow(whole), nrow(example_trials))
})

test_that("models are compared", {
  skip_if_no_engine()
  fits <- two_fits()
  compared <- spice_compare(simple = fits$simple, rate = fits$rate)
  expect_identical(spice_compare(fits), compared)
  table <- tidy(compared)
  expect_setequal(table$model, c("simple", "rate"))
  expect_true(all(c("logLik", "BIC", "protected.exceedance.prob") %in% names(table)))
  expect_equal(nrow(glance(compared)), 1)
  expect_equal(dim(compared$attribution), c(8L, 3L))
  expect_output(expect_identical(print(compared), compared), "8 participants, by ibic")
  expect_error(spice_compare(fits$simple, fits$rate), "different names", class = "spicestat_error_config")
  expect_error(spice_compare(a = fits$simple), class = "spicestat_error_config")
  expect_error(spice_compare(a = fits$simple, b = 1), class = "spicestat_error_config")
  expect_error(spice_compare(a = fits$simple, b = example_fit), class = "spicestat_error_data")
})

test_that("memberships in models are regressed on covariates", {
  skip_if_no_engine()
  fits <- two_fits()
  people <- example_fit$people
  found <- spice_compare(fits, formula = ~ diagnosis + scale(age), data = people)
  expect_identical(tidy(found), tidy(spice_compare(fits)))
  effects <- tidy(found, "membership")
  expect_identical(unique(effects$model), "rate")
  expect_identical(unique(effects$reference), "simple")
  expect_true(all(effects$conf.low < effects$estimate & effects$estimate < effects$conf.high))
  tests <- tidy(found, "membership_tests")
  expect_identical(tests$term, c("(Intercept)", "diagnosis", "scale(age)"))
  expect_equal(tests$p.value[[3]], effects$p.value[effects$term == "scale(age)"], tolerance = 1e-6)
  expect_output(print(found), "against simple")
  # in another unit, nothing but the estimate changes
  twice <- spice_compare(fits, formula = ~ diagnosis + I(2 * age), data = people, conf_level = 0.9)
  expect_equal(tidy(twice, "membership_tests")$p.value[-1], tests$p.value[-1], tolerance = 1e-6)
  expect_error(tidy(spice_compare(fits), "membership"), "formula", class = "spicestat_error_config")
  expect_error(spice_compare(fits, data = people), "formula", class = "spicestat_error_config")
  expect_error(
    spice_compare(fits, formula = ~ (1 | diagnosis), data = people), "random parts",
    class = "spicestat_error_formula"
  )
})

test_that("reliability has broom's columns", {
  skip_if_no_engine()
  reliable <- spice_reliability(
    example_fit, c("first_second", "odd_even"),
    sessions = c("1" = "early", "2" = "early", "3" = "late", "4" = "late")
  )
  table <- tidy(reliable)
  expect_equal(
    names(table), c("component", "term", "method", "estimate", "conf.low", "conf.high", "n", "n.excluded")
  )
  expect_setequal(table$method, c("first_second", "odd_even", "test_retest_icc2", "test_retest_icc3"))
  expect_output(expect_identical(print(reliable), reliable), "95% intervals")
  expect_error(spice_reliability(example_fit, "magic"), class = "spicestat_error_config")
  expect_error(spice_reliability(example_fit, "model"), "withdrawn.*random", class = "spicestat_error_config")
  expect_error(spice_reliability(example_fit, sessions = 1:2), "sessions", class = "spicestat_error_config")
  expect_error(spice_reliability(example_fit, sessions = c(x = "a")), class = "spicestat_error_config")
})

test_that("reliability of choice history has its weights and kernels", {
  skip_if_no_engine()
  history <- spice_fit(example_trials, participant, choice, reward, block = block, progress = FALSE)
  table <- tidy(spice_reliability(history, "odd_even"))
  expect_setequal(table$component, c("beta", "kernel"))
  expect_setequal(table$term[table$component == "kernel"], c("reward", "choice"))
  expect_true(all(table$n.excluded == 0))
  given <- tidy(spice_kernels(history, lags = 3, structure = "given"), what = "influence")
  expect_equal(nrow(given), 2 * 3 * (1 + length(unique(example_trials$participant))))
  expect_error(spice_kernels(history, structure = "searched"), "averaged", class = "spicestat_error_config")
})

test_that("a card has a row per check, and prints what is flagged", {
  skip_if_no_engine()
  card <- spice_card(example_fit, n_simulations = 1)
  table <- tidy(card)
  expect_equal(names(table), c("check", "subject", "value", "threshold", "flag", "meaning"))
  expect_true(all(c("recovery", "trade-off", "structure", "choice curve", "scope") %in% table$check))
  expect_equal(glance(card)$n.flagged, sum(table$flag))
  expect_output(expect_identical(print(card), card), paste(sum(table$flag), "of", nrow(table)))
  expect_error(spice_card(example_fit, n_simulations = 0), "n_simulations", class = "spicestat_error_config")
})

test_that("a report is one page", {
  skip_if_no_engine()
  file <- tempfile(fileext = ".html")
  on.exit(unlink(file))
  expect_equal(spice_report(example_fit, file, formula = ~age, method = "meta", title = "<b>Ours"), file)
  page <- paste(readLines(file, encoding = "UTF-8"), collapse = "\n")
  expect_match(page, "Effects of covariates", fixed = TRUE)
  expect_match(page, "&lt;b&gt;Ours", fixed = TRUE)
  expect_error(spice_report(example_fit, "report.pdf"), "html", class = "spicestat_error_config")
  expect_error(spice_report(example_fit, file, formula = y ~ age), "one-sided", class = "spicestat_error_config")
  expect_error(spice_report(example_fit, file, ladder = NA), "TRUE or FALSE", class = "spicestat_error_config")
  expect_error(spice_report(example_fit, 1), "`file`", class = "spicestat_error_config")
})

test_that("power has a row per design and a plot", {
  skip_if_no_engine()
  power <- spice_power(example_fit, "x_learning_rate_reward:1",
    effect = c(0.3, 0), n_participants = c(8, 12), n_trials = 60, n_simulations = 3, seed = 2, method = "meta"
  )
  table <- tidy(power)
  expect_equal(nrow(table), 4)
  expect_true(all(c("n.participants", "power", "conf.low", "type.s") %in% names(table)))
  expect_equal(nrow(power$studies), 12)
  expect_equal(glance(power)$component, "x_learning_rate_reward")
  expect_output(expect_identical(print(power), power), "3 studies per design")
  built <- ggplot2::ggplot_build(autoplot(power))
  expect_equal(nlevels(built$layout$layout$panel), 2)
  again <- spice_power(example_fit, c("x_learning_rate_reward", "1"),
    effect = 0.3, n_participants = 8, n_trials = 60, n_simulations = 1, seed = 2, population = ~1
  )
  expect_equal(nrow(tidy(again)), 1)
  expect_error(
    spice_power(example_fit, "x:1", 0.1, 8, 60),
    "x_learning_rate_reward:1", class = "spicestat_error_config"
  )
})

test_that("left-out choices are predicted rung by rung", {
  skip_if_no_engine()
  fit <- suppressWarnings(
    spice_fit(example_trials, participant, choice, reward, block = block, model = "history", progress = FALSE)
  )
  ladder <- spice_ladder(fit, c("equations", "shares", "lags"), folds = 2)
  table <- tidy(ladder)
  expect_equal(table$rung, c("shares", "lags", "equations"))
  expect_named(
    table, c("rung", "nll", "accuracy", "least.probability", "difference", "std.error", "n.free", "seconds")
  )
  expect_equal(table$difference, table$nll - table$nll[3])
  expect_lt(table$nll[3], table$nll[1])
  expect_equal(nrow(ladder$people), 3 * length(unique(example_trials$participant)))
  expect_equal(
    glance(ladder)$share.predicted, (table$nll[1] - table$nll[3]) / (table$nll[1] - min(table$nll))
  )
  expect_output(expect_identical(print(ladder), ladder), "2 folds over blocks.*of the predictable")
  built <- ggplot2::ggplot_build(autoplot(ladder))
  expect_equal(sort(built$data[[2]]$x), sort(table$nll))
  # by the network on top of the equations, and of people whom the fit does not know
  expect_equal(is.na(predict(fit, by = "network")), is.na(predict(fit)))
  strangers <- transform(example_trials, participant = paste("new", participant))
  expect_equal(is.na(predict(fit, strangers, unseen = "population")), is.na(predict(fit)))
  # of a fit with a network, and without equations there is no share
  shares <- spice_ladder(example_fit, "shares", over = "people")
  expect_true(is.na(glance(shares)$share.predicted))
  expect_false(any(grepl("predictable", format(shares))))
  expect_error(spice_ladder(example_fit, "oracle"), "no such rung", class = "spicestat_error_config")
  expect_error(spice_ladder(example_fit, over = "trials"), "blocks, people", class = "spicestat_error_config")
})

test_that("the default effects of a simulation are those of its help page", {
  skip_if_no_engine()
  expect_identical(
    spice_simulate(6, 8, 2,
      alpha = spice_parameter(0.45, sd = 0.08, effects = c(anxiety = 0.1), low = 0.02, high = 0.98),
      forget = spice_parameter(0.25, sd = 0.05), beta = spice_parameter(5, sd = 0.8, low = 0.5, high = 20), seed = 1
    ),
    spice_simulate(6, 8, 2, seed = 1)
  )
})

test_that("power for two groups and for a number can be asked", {
  skip_if_no_engine()
  power <- spice_power(example_fit, "x_learning_rate_reward:1",
    effect = 0.5, n_participants = 8, n_trials = 60, covariates = "binary", n_simulations = 3, seed = 2, method = "meta"
  )
  expect_equal(glance(power)$formula, "~x")
  expect_equal(tidy(power)$n.simulations, 3)
  expect_error(
    spice_power(example_fit, "x_learning_rate_reward:1", 0.5, 8, 60, covariates = "ordinal"),
    "continuous, binary, within", class = "spicestat_error_config"
  )
})

test_that("power of effects within people, on occasions and at sites", {
  skip_if_no_engine()
  power <- spice_power(example_fit, "x_learning_rate_reward:1",
    effect = list(drug = 0.2, "drug:x" = c(0, 0.1)), n_participants = 12, n_trials = 40,
    formula = ~ drug * x + (1 | participant) + (1 | site), covariates = list(drug = "within", site = 3),
    n_occasions = 2, shares = c(occasion = 0.3, site = 0.1), n_simulations = 1, seed = 2
  )
  table <- tidy(power)
  expect_equal(table$term, c("drug", "drug:x", "drug", "drug:x"))
  expect_equal(table$effect, c(0.2, 0, 0.2, 0.1))
  expect_output(print(power), "drug \\* x \\+ \\(1 \\| participant\\)")
  built <- ggplot2::ggplot_build(autoplot(power))
  expect_equal(nlevels(built$layout$layout$panel), 3)
  ask <- function(...) {
    spice_power(example_fit, "x_learning_rate_reward:1", 0.2, 8, 60, n_occasions = 2, ...)
  }
  expect_error(ask(formula = ~ x + (1 | participant)), "between occasions", class = "spicestat_error_config")
  expect_error(ask(shares = 0.3), "named numbers", class = "spicestat_error_config")
  expect_error(ask(covariates = c("binary", "within")), "kinds by name", class = "spicestat_error_config")
  expect_error(ask(formula = y ~ x), "one-sided", class = "spicestat_error_formula")
})

test_that("the same group model in R and in Python has identical numbers", {
  skip_if_no_engine()
  folder <- tempfile()
  spice_save(example_fit, folder)
  methods <- c("hierarchical", "meta", "permutation")
  # hexadecimal, which loses no bit
  printed <- run_in_python(sprintf(
    paste(
      "from spicestat import load_fit",
      "from spicestat.group import spice_group",
      "for method in '%s'.split():",
      "    table = spice_group(load_fit('%s'), '~ diagnosis + age', method=method).coefficients",
      "    columns = table[['estimate', 'std_error', 'p_value', 'conf_low']]",
      "    print(*(float(x).hex() for x in columns.to_numpy().T.ravel()))",
      sep = "\n"
    ), paste(methods, collapse = " "), folder
  ))
  for (method in methods) {
    table <- spice_group(example_fit, ~ diagnosis + age, method = method)$coefficients
    there <- as.numeric(sub("nan", "NaN", strsplit(printed[[match(method, methods)]], " ")[[1]]))
    here <- unlist(table[c("estimate", "std_error", "p_value", "conf_low")], use.names = FALSE)
    expect_identical(ifelse(is.na(there), NA, there), ifelse(is.na(here), NA, here), label = method)
  }
})

test_that("the same seed gives the same fit and the same group model, and another seed another", {
  skip_if_no_engine()
  data <- little_trials(3, 10)
  fit <- function(...) suppressWarnings(quick_fit(data, ...))$coefficients
  expect_identical(fit(seed = 3), fit(seed = 3))
  expect_identical(fit(), fit())
  expect_false(identical(fit(seed = 3), fit(seed = 4)))
  permuted <- function(...) {
    tidy(spice_group(example_fit, ~age, method = "permutation", n_permutations = 199, ...))$p.value
  }
  expect_identical(permuted(seed = 3), permuted(seed = 3))
  expect_identical(permuted(), permuted())
})

test_that("numbers out of range are refused before Python sees them", {
  refused <- function(code) expect_error(code, "Allowed: one whole number", class = "spicestat_error_config")
  for (nsim in list(0, 1.5, "a", c(1, 2), NA)) refused(simulate(example_fit, nsim))
  refused(simulate(example_fit, n_trials = 0))
  refused(simulate(example_fit, n_blocks = 0))
  refused(spice_simulate("a"))
  refused(spice_simulate(4, n_trials = c(8, 9)))
})

test_that("kernels are those of Python, and their tables those of broom", {
  skip_if_no_engine()
  data <- spice_simulate(n_participants = 10, n_trials = 60, seed = 1)$trials
  fit <- spice_fit(data, participant, choice, reward, block = block, trial = trial, progress = FALSE)
  expect_true(all(c("pooled", "pooled.sd", "shared") %in% names(tidy(fit))))
  kernels <- spice_kernels(fit, lags = 4, conf_level = 0.9)
  lags <- tidy(kernels)
  expect_named(
    lags, c("event", "scope", "level", "lag", "estimate", "std.error", "conf.low", "conf.high", "n.events")
  )
  expect_identical(nrow(lags), 2L * 11L * 4L)
  expect_identical(unique(lags$level[lags$scope == "participant"]), as.character(fit$people$participant))
  expect_equal(
    lags$conf.high - lags$estimate, stats::qnorm(0.95) * lags$std.error,
    tolerance = 1e-8, ignore_attr = TRUE
  )
  ours <- tidy(kernels, "influence")
  ours <- ours[ours$scope == "population" & ours$event == "reward" & ours$quantity == "total", ]
  expect_equal(ours$estimate, sum(lags$estimate[lags$scope == "population" & lags$event == "reward"]))
  expect_output(print(kernels), "half_life")
  expect_s3_class(autoplot(kernels), "ggplot")
  expect_error(spice_kernels(example_fit), "history", class = "spicestat_error_config")
  expect_error(spice_kernels(fit, "punishment"), "reward")
  expect_error(tidy(kernels, nonsense = 1), "nonsense")
})

test_that("group models have kernels by covariate", {
  skip_if_no_engine()
  cohort <- spice_simulate(n_participants = 20, n_trials = 120, seed = 1)
  fit <- spice_fit(cohort$trials, participant, choice, reward,
    block = block, trial = trial, people = cohort$people, progress = FALSE
  )
  group <- spice_group(fit, ~ diagnosis + anxiety, progress = FALSE)
  kernels <- spice_kernels(group, "diagnosis", lags = 4, events = "reward")
  table <- tidy(kernels)
  expect_named(table, c(
    "event", "quantity", "variable", "level", "contrast", "lag", "estimate", "std.error", "df", "conf.low", "conf.high",
    "conf.level"
  ))
  total <- table[table$quantity == "total", ]
  expect_identical(total$level[1:2], c("control", "patient"))
  expect_identical(total$contrast[3], "patient - control")
  expect_equal(total$estimate[3], total$estimate[2] - total$estimate[1])
  expect_equal(total$conf.high[3] - total$estimate[3], stats::qt(0.975, 20 - 3) * total$std.error[3])
  # what Python has for the same model
  module <- reticulate::import("spicestat", convert = FALSE)
  folder <- tempfile()
  spice_save(fit, folder)
  theirs <- module$spice_group(module$load_fit(folder), "~ diagnosis + anxiety")$kernels(
    "diagnosis",
    lags = 4L, events = list("reward")
  )
  numbers <- function(name) unlist(reticulate::py_to_r(reticulate::py_get_item(theirs$frame, name)$tolist()))
  known <- !is.na(table$estimate)
  expect_equal(table$estimate[known], numbers("estimate")[known], tolerance = 1e-8)
  expect_equal(total$std.error, numbers("std_error")[table$quantity == "total"], tolerance = 1e-8)
  averaged <- spice_kernels(group, "diagnosis", lags = 4, events = "reward", average = TRUE)
  ours <- tidy(averaged)
  expect_equal(ours$given.estimate, table$estimate)
  theirs <- module$spice_group(module$load_fit(folder), "~ diagnosis + anxiety")$kernels(
    "diagnosis",
    lags = 4L, events = list("reward"), average = TRUE
  )
  expect_equal(ours$estimate[known], numbers("estimate")[known], tolerance = 1e-6)
  totals <- ours$quantity == "total"
  expect_equal(ours$std.error[totals], numbers("std_error")[totals], tolerance = 1e-6)
  expect_output(print(averaged), "averaged over")
  expect_error(spice_kernels(group, average = NA), "TRUE or FALSE", class = "spicestat_error_config")
  slope <- tidy(spice_kernels(group, anxiety, lags = 2))
  expect_identical(unique(slope$contrast[!is.na(slope$contrast)]), "slope")
  expect_output(print(kernels), "patient - control")
  expect_s3_class(autoplot(kernels), "ggplot")
  expect_error(spice_kernels(group, "age"), "anxiety", class = "spicestat_error_column")
  expect_error(spice_kernels(example_group), "fit", class = "spicestat_error_config")
  alone <- spice_group(fit, ~diagnosis, method = "meta")
  expect_error(spice_kernels(alone), "alone", class = "spicestat_error_config")
  # the default method is the engine's
  expect_identical(spice_group(fit, ~1)$method, "hierarchical")
  found <- spice_discover(fit)
  expect_named(tidy(found), c("term", "shared", "instead.of", "gain", "gain.per.choice"))
  expect_s3_class(found$fit, "spice_fit")
  expect_output(print(found), if (nrow(found$terms)) found$terms$term[1] else "nothing beyond")
  expect_error(spice_discover(example_fit), "history", class = "spicestat_error_config")
  played <- simulate(fit, seed = 1, n_trials = 20)
  expect_s3_class(spice_update(fit, played), "spice_fit")
})
