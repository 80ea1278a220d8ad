test_that("equations have the participants' coefficients", {
  table <- equations(example_fit, "p01")
  expect_equal(table$component, c(
    "x_learning_rate_reward", "x_value_reward_not_chosen", "x_value_choice", "beta(x_value_reward)"
  ))
  expect_equal(table$equation, c(
    "x_learning_rate_reward[k+1] = 0.897",
    "x_value_reward_not_chosen[k+1] = x_value_reward_not_chosen[k]",
    "x_value_choice[k+1] = 0",
    "beta(x_value_reward) = 4.612"
  ))
  expect_equal(nrow(equations(example_fit)), nrow(example_fit$equations))
  expect_match(equations(example_fit, "p01", digits = 1)$equation[1], "0.9$")
  expect_error(equations(example_fit, "nobody"), "p01", class = "spicestat_error_config")
  expect_error(equations(1), class = "spicestat_error_config")
})

test_that("products, powers and signs are written as in a paper", {
  rows <- data.frame(
    participant = "a", module = "x_value", term = c("1", "x_value", "x_value c_reward", "c_reward^2"),
    estimate = c(-0.5, 1, -0.25, 2), std_error = c(0.1, NA, 0.1, 0.1), selected = TRUE
  )
  expect_equal(
    one_line(rows, text_words(2)),
    "x_value[k+1] = -0.50 + x_value[k] - 0.25 x_value[k] c_reward[k] + 2.00 c_reward[k]^2"
  )
  expect_equal(
    one_line(rows[1:3, ], latex_words(2)),
    paste(
      "x^{\\text{value}}_{k+1} &= -0.50 + x^{\\text{value}}_{k}",
      "- 0.25 x^{\\text{value}}_{k} c^{\\text{reward}}_{k}"
    )
  )
})

test_that("a power of a variable in LaTeX has one superscript", {
  expect_equal(term_words("c_reward^2", latex_state), "\\left(c^{\\text{reward}}_{k}\\right)^{2}")
})

test_that("printing shows each participant's equations, in LaTeX as one environment", {
  lines <- format(equations(example_fit, c("p01", "p02"), "latex"))
  expect_equal(sum(lines == "\\begin{align*}"), 2)
  expect_match(lines, "\\\\beta_\\{\\\\text\\{value reward\\}\\} &= 4.612$", all = FALSE)
  expect_output(print(equations(example_fit)), "and 14 more participants")
})

test_that("what is printed says what its symbols mean", {
  lines <- format(equations(example_fit, "p01"))
  expect_match(lines, "^x_learning_rate_reward: moves the chosen action's value", all = FALSE)
  expect_true("Log odds of an action: beta(x_value_reward) * value + x_value_choice" %in% lines)
  expect_lte(max(nchar(lines)), 100)
  expect_match(utils::tail(format(equations(example_fit, "p01", "latex")), 1), "^% Log odds")
  # a module of somebody's own model may have the same name
  own <- equation_legend("declared", c("x_value_choice", "beta"))
  expect_equal(own, c("[k], [k+1]: before and after trial k", "beta(x): weight of x in the choice between actions"))
  expect_equal(
    utils::tail(equation_legend("forgetting", c("x_value_reward_chosen", "x_value_reward_not_chosen")), 1),
    "Log odds of an action: value"
  )
})

test_that("no id leaves its comment in LaTeX", {
  changed <- example_fit
  changed$equations$participant[changed$equations$participant == "p01"] <- "p\n\\input{x}\r%"
  lines <- format(equations(changed, format = "latex"))
  expect_false(any(grepl("[\r\n]", lines)))
  expect_false(any(startsWith(lines, "\\input")))
})
