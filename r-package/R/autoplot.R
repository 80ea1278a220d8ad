#' Plot a fit
#'
#' @param object,x A [spice_fit()].
#' @param type `"caterpillar"`: one panel per estimated term of the equations,
#'   with participants ordered by their estimates: how different are people,
#'   compared with how well each is known? `"presence"`: the share of
#'   participants whose equation has each term, with 95 % Wilson intervals, and
#'   the mean inclusion probability where an ensemble gives one.
#' @param conf.level Level of the intervals of the estimates.
#' @param ... Not used; for `plot()`, passed on to `autoplot()`.
#' @return A `ggplot` object; `plot()` draws it and returns `x`, invisibly.
#' @export
#' @examples
#' autoplot(example_fit)
#' autoplot(example_fit, type = "presence")
autoplot.spice_fit <- function(object, type = c("caterpillar", "presence"), # nolint: object_name_linter.
                               conf.level = 0.95, ...) { # nolint: object_name_linter.
  check_dots(...)
  switch(rlang::arg_match(type),
    caterpillar = caterpillar_plot(object, conf.level),
    presence = presence_plot(object)
  )
}

#' @rdname autoplot.spice_fit
#' @export
plot.spice_fit <- function(x, ...) {
  print(autoplot(x, ...))
  invisible(x)
}

caterpillar_plot <- function(object, conf_level) {
  table <- caterpillar_table(tidy(object, conf.int = TRUE, conf.level = conf_level))
  ggplot2::ggplot(table, ggplot2::aes(.data$estimate, .data$rank, colour = .data$state)) +
    ggplot2::geom_vline(
      ggplot2::aes(xintercept = .data$estimate),
      data = panel_means(table), colour = "grey55", linewidth = 0.4, linetype = "22"
    ) +
    ggplot2::geom_linerange(
      ggplot2::aes(xmin = .data$conf.low, xmax = .data$conf.high),
      linewidth = 0.5, alpha = 0.45, na.rm = TRUE, show.legend = FALSE
    ) +
    ggplot2::geom_point(size = 1.3, na.rm = TRUE) +
    ggplot2::facet_wrap(~panel, scales = "free") +
    state_scale() +
    ggplot2::scale_y_continuous(breaks = NULL, expand = ggplot2::expansion(add = 1)) +
    ggplot2::labs(
      x = paste0("Estimate with ", 100 * conf_level, "% interval; dashed: mean"),
      y = "Participants, ordered by estimate"
    ) +
    plot_theme() +
    ggplot2::theme(legend.position = if (length(unique(table$state)) > 1) "bottom" else "none")
}

state_colours <- c(
  "estimated" = "#1F5A87", "at a bound or not converged" = "#C8553D",
  "fixed" = "grey40", "not in the equation" = "grey65"
)

state_scale <- function() {
  ggplot2::scale_colour_manual(NULL, values = state_colours, limits = names_shown)
}

# the legend lists the states that occur, in the order of the palette
names_shown <- function(found) {
  intersect(names(state_colours), found)
}

caterpillar_table <- function(table) {
  table$panel <- panel_label(table$component, table$term)
  table$state <- coefficient_state(table)
  # a panel of fixed coefficients would only say that they are
  shown <- unique(table$panel[table$present & !is.na(table$std.error)])
  table <- table[table$panel %in% shown, ]
  table$panel <- factor(table$panel, levels = shown)
  table$rank <- stats::ave(table$estimate, table$panel, FUN = function(x) rank(x, ties.method = "first"))
  table
}

coefficient_state <- function(table) {
  state <- ifelse(is.na(table$std.error), "fixed", "estimated")
  state[table$at.bound | !table$converged] <- "at a bound or not converged"
  state[!table$present] <- "not in the equation"
  state
}

panel_means <- function(table) {
  stats::aggregate(estimate ~ panel, data = table[table$present, ], FUN = mean)
}

presence_plot <- function(object) {
  table <- presence_table(object$coefficients)
  ggplot2::ggplot(table, ggplot2::aes(.data$share, .data$row)) +
    ggplot2::geom_col(fill = "#1F5A87", alpha = 0.75, width = 0.7) +
    ggplot2::geom_linerange(ggplot2::aes(xmin = .data$low, xmax = .data$high), linewidth = 0.5) +
    ggplot2::geom_point(ggplot2::aes(.data$inclusion), shape = 5, size = 2, na.rm = TRUE) +
    ggplot2::facet_wrap(~module, scales = "free_y", ncol = 1) +
    ggplot2::scale_x_continuous(limits = c(0, 1), expand = ggplot2::expansion(mult = 0.01)) +
    ggplot2::labs(
      x = "Share of participants with the term (95% interval)", y = NULL,
      caption = if (any(!is.na(table$inclusion))) "Diamond: mean inclusion probability."
    ) +
    plot_theme() +
    ggplot2::theme(panel.grid.major.y = ggplot2::element_blank())
}

presence_table <- function(table) {
  key <- paste(table$module, table$term, sep = "\r")
  parts <- split_in_order(table, key)
  number <- function(f) vapply(parts, f, 0, USE.NAMES = FALSE)
  first <- !duplicated(key)
  rows <- data.frame(
    module = factor(plain_name(table$module[first]), unique(plain_name(table$module))),
    row = term_label(table$module[first], table$term[first]),
    share = number(function(part) mean(part$selected)),
    inclusion = number(mean_inclusion),
    n = number(nrow)
  )
  rows$row <- factor(rows$row, rev(unique(rows$row)))
  cbind(rows, wilson(rows$share, rows$n))
}

#' Mean probability that a term is estimated; none where someone keeps a value,
#' whose coefficient is 1 and not estimated
#' @noRd
mean_inclusion <- function(part) {
  kept <- part$selected & is.na(part$std_error) & part$estimate == 1
  if (any(kept)) NA_real_ else mean(part$inclusion_prob)
}

#' Wilson's 95 % interval of a share, which does not leave [0, 1]
#' @noRd
wilson <- function(share, n) {
  z2 <- stats::qnorm(0.975)^2 / n
  centre <- (share + z2 / 2) / (1 + z2)
  half <- sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
  data.frame(low = pmax(centre - half, 0), high = pmin(centre + half, 1))
}

plot_theme <- function() {
  ggplot2::theme_minimal(base_size = 11) +
    ggplot2::theme(
      panel.grid.minor = ggplot2::element_blank(),
      panel.spacing = ggplot2::unit(1, "lines"),
      panel.spacing.x = ggplot2::unit(1.5, "lines"),
      # half a tick's label may stand beyond the last panel
      plot.margin = ggplot2::margin(6, 16, 6, 6),
      strip.text = ggplot2::element_text(face = "bold", hjust = 0, lineheight = 1.1),
      axis.title = ggplot2::element_text(colour = "grey30"),
      legend.position = "bottom",
      plot.title.position = "plot",
      plot.background = ggplot2::element_rect(fill = "white", colour = NA)
    )
}
