#' What does one reward, or one choice, do to the next choices?
#'
#' The kernel at lag k is the change of the log odds of repeating an action, k
#' choices after something about it changed: its reward from the lowest to the
#' highest of the data (`"reward"`), or the choice from another action to this
#' one (`"choice"`). Everything else stays as it was observed, and the change is
#' averaged over the trials of each participant's own history. Kernels are
#' comparable across structures, where single weights of similar states are not.
#'
#' A search could have found other states. With `structure = "averaged"`, kernels
#' are averages over the fit's own states and those of eight searches without an
#' eighth of the participants each, and the standard errors hold what differs
#' between them.
#'
#' @param fit A [spice_fit()] with `model = "history"`.
#' @param events Any of `"reward"`, `"choice"`.
#' @param lags How many choices after the event; blocks end them.
#' @param conf_level Level of the intervals.
#' @param events_per_person About how many trials of each participant are
#'   changed, spread evenly over the blocks.
#' @param structure `"averaged"` repeats the search eight times, which takes about
#'   five times as long as the fit. `"given"` takes the fit's states as known, as
#'   they are anyway with fewer than six participants and after [spice_update()].
#' @return An object of class `spice_kernels`. Its `tidy()` is a tibble:
#'   * `"lags"`: `event`, `scope` (`"population"` or `"participant"`), `level` (the
#'     participant's id), `lag`, `estimate` (log odds), `std.error`, `conf.low`,
#'     `conf.high`, `n.events`;
#'   * `"influence"`: for each `quantity`, `"total"` (the sum over lags, log odds),
#'     `"half_life"` (lag by which half of it has come) and `"learning_rate"` (one
#'     minus the ratio of successive lags). The last two are `NA` where a kernel
#'     has both signs.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   cohort <- spice_simulate(n_participants = 12, n_trials = 60, seed = 1)
#'   fit <- spice_fit(cohort$trials, participant, choice, reward, block = block, trial = trial)
#'   kernels <- spice_kernels(fit, lags = 10)
#'   tidy(kernels, what = "influence")
#'   autoplot(kernels)
#' }
#' }
spice_kernels <- function(fit, events = c("reward", "choice"), lags = 20, conf_level = 0.95,
                          events_per_person = 60, structure = c("averaged", "given")) {
  call <- rlang::current_env()
  check_fit(fit, call)
  events <- rlang::arg_match(events, c("reward", "choice"), multiple = TRUE)
  settings <- list(
    lags = lags, conf_level = check_level(conf_level), events_per_person = events_per_person,
    structure = one_of(structure, c("averaged", "given"), "structure", call)
  )
  options <- c(engine_options(settings, call), list(events = as.list(events)))
  tables <- with_fit_folder(fit, function(folder) call_bridge("kernels", folder, options, call = call))
  structure(
    list(lags = decode_table(tables$lags), influence = decode_table(tables$influence), conf_level = conf_level),
    class = "spice_kernels"
  )
}

#' @rdname spice_kernels
#' @param x,object A `spice_kernels`.
#' @param what `"lags"` or `"influence"`.
#' @param ... Not used; for `plot()`, passed on to `autoplot()`.
#' @export
tidy.spice_kernels <- function(x, what = c("lags", "influence"), ...) {
  check_dots(...)
  table <- with_broom_names(x[[rlang::arg_match(what)]])
  names(table)[names(table) == "participant"] <- "level"
  table$level <- label_text(table$level)
  table
}

#' @rdname spice_kernels
#' @export
format.spice_kernels <- function(x, ...) {
  check_dots(...)
  table <- tidy(x, "influence")
  ours <- table[table$scope == "population", setdiff(names(table), c("scope", "level"))]
  title <- paste0(
    "<spice_kernels> over ", max(x$lags$lag), " choices, ", 100 * x$conf_level, "% intervals, population"
  )
  c(title, "", text_table(ours))
}

#' @rdname spice_kernels
#' @export
print.spice_kernels <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname spice_kernels
#' @export
autoplot.spice_kernels <- function(object, ...) { # nolint: object_name_linter.
  check_dots(...)
  table <- tidy(object)
  ours <- table[table$scope == "population" & !is.na(table$estimate), ]
  ours$event <- factor(ours$event, levels = unique(ours$event))
  ggplot2::ggplot(ours, ggplot2::aes(.data$lag, .data$estimate)) +
    ggplot2::geom_hline(yintercept = 0, colour = "grey65", linewidth = 0.4) +
    ggplot2::geom_ribbon(
      ggplot2::aes(ymin = .data$conf.low, ymax = .data$conf.high),
      fill = state_colours[["estimated"]], alpha = 0.25
    ) +
    ggplot2::geom_line(colour = state_colours[["estimated"]]) +
    ggplot2::geom_point(colour = state_colours[["estimated"]], size = 1.3) +
    ggplot2::facet_wrap(~event, labeller = ggplot2::as_labeller(function(event) paste("one", event))) +
    ggplot2::labs(
      x = "Choices after it",
      y = paste0("Change in log odds of repeating, ", 100 * object$conf_level, "% interval")
    ) +
    plot_theme()
}

#' @rdname spice_kernels
#' @export
plot.spice_kernels <- function(x, ...) {
  print(autoplot(x, ...))
  invisible(x)
}
