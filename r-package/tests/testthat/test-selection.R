here <- rlang::current_env()

estimates <- function(n = 8) {
  set.seed(3)
  data.frame(
    participant = rep(letters[seq_len(n)], 2), module = rep(c("beta", "x"), each = n),
    term = rep(c("v", "1"), each = n), estimate = stats::rnorm(2 * n), std_error = 0.1
  )
}

selected_of <- function(table, needs_std_error = TRUE, modules = NULL, terms = NULL) {
  cells <- coefficient_cells(table, here)
  design <- list(matrix = matrix(1, length(cells$participants), 1), rows = seq_along(cells$participants))
  select_equations(cells, design, modules, terms, needs_std_error, here)
}

test_that("every participant gets every term, and beta comes last", {
  cells <- coefficient_cells(estimates()[-1, ], here)
  expect_equal(cells$terms$key, c("x:1", "beta:v"))
  expect_false(cells$selected["a", "beta:v"])
  expect_equal(cells$estimate["a", "beta:v"], 0)
})

test_that("coefficients that cannot be used are counted by reason", {
  table <- transform(estimates(), converged = TRUE, at_bound = FALSE, selected = TRUE)
  table$at_bound[1] <- TRUE
  table$converged[2] <- FALSE
  table$std_error[3] <- NA
  table$std_error[4] <- 0
  table$selected[9] <- FALSE
  expect_warning(
    selected <- selected_of(table),
    "5 coefficients cannot enter.*1 at a bound.*population structure", class = "spicestat_warning_exclusion"
  )
  expect_equal(lengths(lapply(selected$equations, `[[`, "rows")), c("x:1" = 7, "beta:v" = 4))
  expect_equal(selected$equations[["beta:v"]]$share_unidentified, 0.5)
  expect_equal(selected$equations[["x:1"]]$share_unidentified, 0.25)
  # mixed models do not weight by standard errors
  unweighted <- suppressWarnings(selected_of(table, needs_std_error = FALSE))
  expect_length(unweighted$equations[["beta:v"]]$rows, 6)
})

test_that("equations without anything to analyse are skipped with the reason", {
  table <- estimates()
  fixed <- transform(table[9:16, ], module = "y", estimate = 1, std_error = NA)
  never <- transform(table[9:16, ], module = "z", estimate = NA)
  same <- transform(table[9:16, ], module = "w", estimate = 2)
  few <- transform(table[9, ], module = "u")
  selected <- suppressWarnings(selected_of(rbind(table, fixed, never, same, few)))
  expect_named(selected$equations, c("x:1", "beta:v"))
  expect_match(selected$skipped$reason[selected$skipped$module == "y"], "fixed at 1 by the structure")
  expect_match(selected$skipped$reason[selected$skipped$module == "z"], "in no participant's equation")
  expect_match(selected$skipped$reason[selected$skipped$module == "w"], "the same estimate, 2")
  expect_match(selected$skipped$reason[selected$skipped$module == "u"], "too few")
  expect_error(suppressWarnings(selected_of(fixed)), "no coefficient can be analysed", class = "spicestat_error_data")
})

test_that("modules and terms are chosen by name", {
  expect_named(selected_of(estimates(), modules = "x")$equations, "x:1")
  expect_named(selected_of(estimates(), terms = "v")$equations, "beta:v")
  expect_error(selected_of(estimates(), modules = "q"), "'beta', 'x'", class = "spicestat_error_config")
  expect_error(
    selected_of(estimates(), modules = "x", terms = "v"), "no equation has both",
    class = "spicestat_error_config"
  )
})

test_that("tables that are none are refused", {
  table <- estimates()
  expect_error(coefficient_cells(table[-5], here), "std_error", class = "spicestat_error_column")
  expect_error(coefficient_cells(transform(table, estimate = "x"), here), "numeric", class = "spicestat_error_column")
  expect_error(coefficient_cells(rbind(table, table[1, ]), here), "duplicate", class = "spicestat_error_data")
  expect_error(coefficient_cells(transform(table, std_error = -1), here), "negative", class = "spicestat_error_data")
  expect_error(coefficient_cells(transform(table, participant = NA), here), "without a participant",
    class = "spicestat_error_data"
  )
  expect_error(coefficient_cells(table[0, ], here), "no rows", class = "spicestat_error_data")
  table$selected <- TRUE
  table$estimate[1] <- NA
  expect_error(coefficient_cells(table, here), "without an estimate", class = "spicestat_error_data")
})
