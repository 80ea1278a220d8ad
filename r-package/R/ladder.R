#' How much of what is predictable do the equations predict?
#'
#' Choices are left out and predicted: by the equations, fitted anew without
#' them, and by what anybody could use instead. Where a lower rung predicts
#' better, the equations have missed something that people do.
#'
#' Each rung is fitted to the other folds only, and predicts a choice from what
#' came before it in its block; the first choice of a block is not predicted.
#'
#' * `"shares"`: how often the person chooses each action, shrunken to the
#'   population.
#' * `"lags"`: weights of the last five choices and rewards, with a ridge.
#' * `"mixed_logit"`: weights of all states of the library of
#'   `model = "history"`, without a search.
#' * `"equations"`: those of the fit, found and estimated anew.
#' * `"network"`: the network that these equations come from; with
#'   `model = "history"` the one on top of them.
#' * `"gru"`: a recurrent network with an embedding of participants.
#'
#' Costs as many fits as folds, and the GRUs.
#'
#' @param fit A [spice_fit()] of choices.
#' @param rungs Some of these; `NULL` for all.
#' @param over What is left out: `"blocks"` of everybody (of people with one
#'   block its last fifth), or all choices of some `"people"`, who are predicted
#'   by what the others have taught.
#' @param folds Number of parts that are left out, 2 or more; there are no more
#'   than blocks, or people.
#' @param members Number of GRUs whose probabilities are averaged, 1 to 3.
#' @param seed Whole number from 0. `NULL` draws one from R's random numbers, so
#'   that [set.seed()] decides.
#' @param progress Show a progress bar?
#' @return An object of class `spice_ladder`: a list of the tibbles `rungs`,
#'   `people` (one row per participant and rung) and `glance`. `tidy()` has one
#'   row per rung: `nll` (mean negative log-likelihood per choice, in nats),
#'   `accuracy`, `least.probability` of a choice that was made, `difference` (its
#'   nll less that of the equations) with `std.error` over people, `n.free`
#'   (estimated values) and `seconds` of processor time. `glance()` has
#'   `share.predicted`, (NLL of shares - NLL of equations) / (NLL of shares - NLL
#'   of the best rung). `autoplot()` draws the rungs.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) spice_ladder(example_fit, c("shares", "lags", "mixed_logit"))
#' }
spice_ladder <- function(fit, rungs = NULL, over = c("blocks", "people"), folds = 3, members = 1, seed = 0,
                         progress = interactive()) {
  call <- rlang::current_env()
  check_fit(fit, call)
  settings <- list(
    rungs = rungs, over = one_of(over, c("blocks", "people"), "over", call), folds = folds, members = members,
    seed = whole_seed(seed, call)
  )
  options <- engine_options(settings, call)
  show <- new_progress(progress)
  tables <- with_fit_folder(fit, function(folder) {
    call_bridge("ladder", folder, options, progress = show, call = call)
  })
  structure(lapply(tables, decode_table), class = "spice_ladder")
}

#' @rdname spice_ladder
#' @param x,object A `spice_ladder`.
#' @param ... Not used; anything here is an error.
#' @export
tidy.spice_ladder <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$rungs)
}

#' @rdname spice_ladder
#' @export
glance.spice_ladder <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$glance)
}

#' @rdname spice_ladder
#' @export
format.spice_ladder <- function(x, ...) {
  check_dots(...)
  row <- x$glance
  folds <- if (row$folds == 1) "1 fold" else paste(row$folds, "folds")
  c(
    paste0(
      "<spice_ladder> ", row$n_choices, " left-out choices of ", row$n_participants, " participants, ", folds, " over ",
      row$over
    ),
    "",
    text_table(tidy(x)[setdiff(names(tidy(x)), "least.probability")]),
    if (!is.na(row$share_predicted)) {
      c("", sprintf(
        "Equations predict %.0f%% of the predictable; best rung: %s", 100 * row$share_predicted, row$best
      ))
    }
  )
}

#' @rdname spice_ladder
#' @export
print.spice_ladder <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname spice_ladder
#' @export
autoplot.spice_ladder <- function(object, ...) {
  check_dots(...)
  table <- tidy(object)
  table <- table[is.finite(table$nll), ]
  titles <- c(
    shares = "choice shares", lags = "last five choices\nand rewards", mixed_logit = "mixed logit\non the library",
    equations = "equations", network = "network", gru = "GRU"
  )
  table$title <- factor(titles[table$rung], levels = rev(titles[table$rung]))
  margin <- stats::qnorm(0.975) * ifelse(is.na(table$std.error), 0, table$std.error)
  table$low <- table$nll - margin
  table$high <- table$nll + margin
  ggplot2::ggplot(table, ggplot2::aes(.data$nll, .data$title)) +
    ggplot2::geom_vline(
      xintercept = table$nll[table$rung == "equations"], colour = "grey55", linewidth = 0.4, linetype = "22"
    ) +
    ggplot2::geom_pointrange(
      ggplot2::aes(xmin = .data$low, xmax = .data$high),
      size = 0.3, linewidth = 0.6, colour = "#1F5A87"
    ) +
    ggplot2::labs(
      x = "NLL per left-out choice (nats)", y = NULL,
      caption = "Bars: 95% intervals of the difference from the equations, over people"
    ) +
    plot_theme()
}
