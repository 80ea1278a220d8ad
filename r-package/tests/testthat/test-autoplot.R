drawn <- function(plot) {
  file <- tempfile(fileext = ".png")
  on.exit(unlink(file))
  grDevices::png(file)
  print(plot)
  grDevices::dev.off()
  file.size(file) > 0
}

test_that("fits and group models are drawn without warnings", {
  expect_silent(fit_plot <- ggplot2::autoplot(example_fit))
  expect_silent(group_plot <- ggplot2::autoplot(example_group))
  expect_silent(expect_true(drawn(fit_plot)))
  expect_silent(expect_true(drawn(group_plot)))
})

test_that("a fit's panels are the terms that were estimated", {
  table <- tidy(example_fit)
  estimated <- table$present & !is.na(table$std.error)
  panels <- unique(ggplot2::autoplot(example_fit)$data$panel)
  expect_setequal(as.character(panels), unique(panel_label(table$component, table$term)[estimated]))
})

test_that("each participant has a state", {
  table <- data.frame(
    std.error = c(0.1, NA, NA, NA), present = c(TRUE, TRUE, TRUE, FALSE),
    at.bound = c(FALSE, FALSE, TRUE, FALSE), converged = TRUE
  )
  expect_equal(
    coefficient_state(table),
    c("estimated", "fixed", "at a bound or not converged", "not in the equation")
  )
})

test_that("a group model's withheld effects are marked", {
  group <- example_group
  group$coefficients[c("conf_low", "conf_high", "p_value", "p_adjusted")] <- NA_real_
  plot <- ggplot2::autoplot(group)
  expect_equal(unique(plot$data$verdict), "withheld")
  expect_match(plot$labels$caption, "Withheld")
  expect_true(drawn(plot))
})

test_that("the intercept is shown on demand, or if there is nothing else", {
  expect_false("(Intercept)" %in% ggplot2::autoplot(example_group)$data$term)
  expect_true("(Intercept)" %in% ggplot2::autoplot(example_group, intercept = TRUE)$data$term)
  group <- example_group
  group$coefficients <- group$coefficients[group$coefficients$term == "(Intercept)", ]
  expect_true(drawn(ggplot2::autoplot(group)))
})

test_that("all kinds of plots are drawn without warnings", {
  for (type in c("caterpillar", "covariate")) {
    expect_silent(plot <- autoplot(example_group, type = type))
    expect_silent(expect_true(drawn(plot)))
  }
  expect_silent(expect_true(drawn(autoplot(example_group, type = "covariate", covariate = age))))
  expect_silent(expect_true(drawn(autoplot(example_fit, type = "presence"))))
  file <- tempfile(fileext = ".png")
  grDevices::png(file)
  expect_identical(plot(example_group), example_group)
  expect_identical(plot(example_fit), example_fit)
  grDevices::dev.off()
})

test_that("what cannot be plotted is refused", {
  expect_error(autoplot(example_group, type = "covariate", covariate = height), class = "spicestat_error_column")
  group <- example_group
  group$formula <- "~1"
  expect_error(autoplot(group, type = "covariate"), "no covariate", class = "spicestat_error_config")
})

test_that("a covariate's means are marginal means", {
  means <- covariate_means(example_group, "diagnosis", 0.95)
  people <- model_data(example_group)
  effects <- coef(example_group)
  expect_equal(means$.fitted[1], unname(effects[1] + effects[3] * mean(people$age)))
  expect_equal(means$.fitted[2] - means$.fitted[1], unname(effects[2]))
})

test_that("the presence plot has the shares", {
  table <- presence_table(example_fit$coefficients)
  expect_equal(sum(table$share * table$n), sum(example_fit$coefficients$selected))
  expect_true(all(table$low <= table$share + 1e-12 & table$share <= table$high + 1e-12))
  # the kept value of options not chosen is in everybody's equations, and not estimated
  known <- presence_table(transform(example_fit$coefficients, inclusion_prob = 0.15))
  expect_identical(sum(is.na(known$inclusion)), 1L)
  expect_identical(known$share[is.na(known$inclusion)], 1)
  # prop.test() without correction has Wilson's interval
  expect_equal(unlist(wilson(0.25, 24)), stats::prop.test(6, 24, correct = FALSE)$conf.int[1:2], ignore_attr = TRUE)
})

test_that("a posterior's effects are told apart by their intervals", {
  group <- example_group
  group$coefficients[c("p_value", "p_adjusted")] <- NA_real_
  plot <- autoplot(group)
  expect_setequal(plot$data$verdict, c("0 outside the interval", "0 in the interval"))
  group <- example_group
  group$ran_vals <- NULL
  group$participants$posterior_mean <- group$participants$posterior_std_error <- NA_real_
  expect_match(autoplot(group, type = "caterpillar")$labels$x, "Own estimate")
})

#' Lines that are drawn as labels of the vertical axes, panel by panel
row_labels <- function(plot) {
  built <- ggplot2::ggplot_build(plot)
  lapply(built$layout$panel_params, function(panel) as.character(panel$y$get_labels()))
}

test_that("a forest has each coefficient's label once, in plain words that fit", {
  labels <- row_labels(autoplot(example_group))
  expect_equal(unlist(labels), c("learning rate reward:\nconstant", "", "beta: value reward", ""))
  panels <- ggplot2::ggplot_build(autoplot(example_group))$layout$layout
  expect_equal(as.character(panels$panel), paste0(
    rep(c("x_learning_rate_reward", "beta"), each = 2), "\r", c("diagnosispatient", "age")
  ))
  expect_length(row_labels(autoplot(example_group, intercept = TRUE)), 6)
})

test_that("a covariate that one coefficient lacks leaves its panel empty and the others in place", {
  group <- example_group
  drop <- group$coefficients$module == "x_learning_rate_reward" & group$coefficients$term == "diagnosispatient"
  group$coefficients <- group$coefficients[!drop, ]
  plot <- autoplot(group)
  expect_equal(plot$data$label[plot$data$component == "x_learning_rate_reward"], "learning rate reward:\nconstant")
  expect_equal(nlevels(plot$data$panel), 4)
  expect_true(drawn(plot))
})

test_that("labels name the scale where there is a link", {
  group <- example_group
  group$links <- list(beta = "log", "x_learning_rate_reward:1" = "logit")
  modules <- c("beta", "x_learning_rate_reward", "x")
  expect_equal(link_of(group, modules, c("a", "1", "1")), c("log", "logit", "identity"))
  expect_equal(
    unique(setdiff(autoplot(group)$data$label, "")),
    c("learning rate reward:\nconstant (log odds)", "beta: value reward (log)")
  )
  expect_equal(levels(autoplot(group, "covariate")$data$panel)[1], "learning rate reward\nconstant (log odds)")
  expect_match(format(group), "^beta, x_value_reward \\(log\\):$", all = FALSE)
})

test_that("long names are broken, and products are written as such", {
  expect_equal(coefficient_label("x_v", "x_v c_reward"), "v: v \u00d7 reward")
  expect_equal(coefficient_label("x_v", "x_v"), "v: own state")
  expect_equal(wrap_label("trait_anxiety_score", 10), "trait_\nanxiety_\nscore")
  expect_equal(wrap_label(c("a b", "averylongword"), 5), c("a b", "averylongword"))
})

test_that("many effects, or long names, stand in rows, and titles of an interaction are whole", {
  expect_equal(wrap_label("diagnosisMDD:phq9", 13), "diagnosisMDD:\nphq9")
  group <- example_group
  long <- "diagnosisschizophreniaoraffectivepsychosis"
  group$coefficients$term <- sub("diagnosispatient", long, group$coefficients$term)
  plot <- autoplot(group)
  expect_equal(levels(plot$data$panel), c("learning rate reward:\nconstant", "beta: value reward"))
  expect_equal(levels(plot$data$row)[1], "age")
  expect_match(plot$labels$caption, "per unit")
  expect_true(drawn(plot))
})

test_that("the caption of means says what they are averaged over, and on what they depend", {
  expect_match(mean_caption(example_group, "diagnosis", 0.95), "95% interval,\naveraged over the participants' age\\.$")
  of <- function(formula) spice_group(example_fit, formula, method = "metafor")
  skip_if_not_installed("metafor")
  caption <- mean_caption(of(~ diagnosis * log(age)), "age", 0.9)
  expect_equal(caption, "Colours: mean that the model predicts, with 90% interval.")
  people <- data.frame(example_fit$people, z = sin(1:24))
  group <- spice_group(example_fit, ~ diagnosis * age + diagnosis:z, people, method = "metafor")
  caption <- mean_caption(group, "diagnosis", 0.9)
  expect_match(caption, "at the mean of age and one SD on either side, with 90% ")
  expect_match(caption, "although it depends on z \\(interaction\\)")
  expect_match(mean_caption(of(~age), "age", 0.95), "interval\\.$")
})

test_that("a few estimates far off stretch no panel, and are marked and counted", {
  fit <- example_fit
  rows <- which(fit$coefficients$module == "beta" & fit$coefficients$term == "x_value_reward")
  fit$coefficients$estimate[rows[1:2]] <- c(900, -700)
  fit$coefficients[rows[3], c("estimate", "std_error")] <- NA_real_
  plot <- autoplot(fit)
  expect_silent(expect_true(drawn(plot)))
  drawn_there <- plot$data[plot$data$component == "beta", ]
  expect_equal(sort(drawn_there$shape[drawn_there$shape != 16]), c(60, 62))
  expect_lt(max(abs(drawn_there$estimate)), 30)
  expect_setequal(drawn_there$level, unique(fit$coefficients$participant)[-3])
  expect_equal(
    plot$labels$caption,
    "< and >: 2 estimates beyond the panel.\nNot drawn: 1 estimate that the choices do not identify."
  )
  # where nothing is far off, nothing is moved
  expect_null(autoplot(example_fit)$labels$caption)
  estimates <- sort(tidy(example_fit)$estimate[rows])
  expect_equal(sort(autoplot(example_fit)$data$estimate[autoplot(example_fit)$data$component == "beta"]), estimates)
  group <- example_group
  group$participants$observed[1] <- 50
  group$participants$used[2] <- FALSE
  for (type in c("caterpillar", "covariate")) {
    plot <- autoplot(group, type)
    expect_match(plot$labels$caption, "1 estimate beyond the panel.*Open circles")
    expect_silent(expect_true(drawn(plot)))
  }
})

test_that("ends of panels hold whatever is certain, and all of estimates that agree", {
  expect_equal(fence(c(1, 1, 1), 0.25), -Inf)
  expect_equal(fence(0:4, 0.75), 3 + 3 * 2)
  expect_equal(fence(c(NA_real_, NA), 0.75), NA_real_)
  known <- data.frame(
    estimate = c(5, 5.2, 5.4, 5.6, 0), conf.low = c(4.9, 5.1, 5.3, 5.5, NA), conf.high = c(5.1, 5.3, 5.5, 5.7, NA),
    panel = "a", state = c(rep("estimated", 4), "not in the equation")
  )
  expect_equal(unique(caterpillar_ends(known)$lower), 0)
})

test_that("weights that everybody shares have no panel, and one module's name stands above", {
  fit <- example_fit
  fit$coefficients$shared <- fit$coefficients$module == "beta"
  plot <- autoplot(fit)
  expect_equal(unique(plot$data$component), "x_learning_rate_reward")
  table <- data.frame(component = "beta", term = c("last", "last:reward_rate_0.8", "rewarded_0:switching_0.9"))
  titles <- panel_titles(table$component, table$term)
  expect_equal(levels(titles), c("last", "last:reward rate 0.8", "rewarded 0:switching\n0.9"))
  expect_equal(module_subtitle(table$component, 3), "beta")
  expect_null(module_subtitle("beta", 1))
  expect_equal(levels(panel_titles("beta", "last")), "beta\nlast")
})

test_that("an interaction has a mean for each level, as emmeans has it, and no line beyond a level's people", {
  skip_if_not_installed("metafor")
  group <- spice_group(example_fit, ~ diagnosis * age, method = "metafor")
  expect_equal(drawn_moderator(group, "age"), "diagnosis")
  means <- covariate_means(group, "diagnosis", 0.95, "age")
  expect_equal(nrow(means), 2 * 3 * 2)
  age <- moderator_values(model_data(group)$age)
  expect_equal(age[2], mean(model_data(group)$age))
  new <- data.frame(diagnosis = c("control", "patient"), age = rep(age, each = 2))
  columns <- c(".fitted", ".lower", ".upper")
  expect_equal(means[columns], as.data.frame(predict(group, new))[columns])
  plot <- autoplot(group, "covariate", age)
  expect_equal(plot$scales$get_scales("colour")$name, "diagnosis")
  people <- model_data(group)
  lines <- ggplot2::ggplot_build(plot)$data[[3]]
  of_patients <- range(lines$x[lines$colour == level_colours[2]])
  expect_true(all(of_patients >= min(people$age[people$diagnosis == "patient"])))
  for (covariate in c("age", "diagnosis")) expect_silent(expect_true(drawn(autoplot(group, "covariate", covariate))))
  crossed <- data.frame(example_fit$people, sex = rep(c("f", "f", "m", "m"), 6))
  group <- spice_group(example_fit, ~ diagnosis * sex, crossed, method = "metafor")
  expect_silent(expect_true(drawn(autoplot(group, "covariate"))))
  expect_null(drawn_moderator(example_group, "age"))
  # more levels than there are colours
  expect_length(unique(level_scale("site", 9)$palette(9)), 9)
})

test_that("many coefficients with effects of long names have a panel for each effect", {
  group <- example_group
  parts <- lapply(1:6, function(k) transform(group$coefficients, sparse_term = paste0("state_", k), module = "beta"))
  group$coefficients <- tibble::as_tibble(do.call(rbind, parts))
  long <- "diagnosisschizophreniaoraffectivepsychosis"
  group$coefficients$term <- sub("diagnosispatient", long, group$coefficients$term)
  plot <- autoplot(group)
  expect_equal(levels(plot$data$panel), c(long, "age"))
  expect_equal(plot$labels$subtitle, "beta")
  expect_equal(rev(unname(row_labels(plot)[[1]])), paste("state", 1:6))
  expect_silent(expect_true(drawn(plot)))
})

test_that("presence is drawn of people without an estimate", {
  table <- example_fit$coefficients
  table$estimate[table$std_error %in% NA][1] <- NA_real_
  expect_false(anyNA(presence_table(table)$share))
})

test_that("means are drawn where intervals are withheld, with the reason", {
  group <- example_group
  group$glance$withheld <- TRUE
  group$messages <- paste0(withheld_start, "too few trials")
  plot <- autoplot(group, "covariate")
  expect_match(plot$labels$caption, "Intervals are withheld: too few trials")
  expect_silent(expect_true(drawn(plot)))
  expect_true(all(is.finite(ggplot2::ggplot_build(plot)$data[[3]]$y)))
})

#' Inches that the title of the vertical axis is longer than what stands beside it, in a figure of some height
upright_excess <- function(plot, height) {
  grDevices::pdf(NULL, 7, height)
  on.exit(grDevices::dev.off())
  table <- ggplot2::ggplotGrob(plot)
  place <- which(table$layout$name == "ylab-l")
  fixed <- grid::convertHeight(table$heights, "inches", valueOnly = TRUE)
  beside <- sum(fixed[table$layout$t[place]:table$layout$b[place]]) + height - sum(fixed)
  title <- grid::textGrob(plot$labels$y, gp = grid::gpar(fontsize = 11))
  grid::convertWidth(grid::grobWidth(title), "inches", valueOnly = TRUE) - beside
}

test_that("titles of vertical axes fit figures of four inches", {
  group <- example_group
  covariate <- autoplot(group, type = "covariate", covariate = "age")
  expect_lt(upright_excess(covariate, 4), 0)
  # as it was in one line, below a caption of some
  covariate$labels$caption <- "one\ntwo\nthree\nfour"
  expect_lt(upright_excess(covariate, 4), 0)
  covariate$labels$y <- gsub("\n", " ", covariate$labels$y)
  expect_gt(upright_excess(covariate, 3), 0)
  expect_lt(upright_excess(autoplot(example_fit), 4), 0)
  expect_lt(upright_excess(autoplot(group, type = "caterpillar"), 4), 0)
})
