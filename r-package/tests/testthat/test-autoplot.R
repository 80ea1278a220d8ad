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
