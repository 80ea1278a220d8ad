#' Plot a fit or a group model
#'
#' A fit is shown as one panel per estimated term of the equations, with participants
#' ordered by their estimates: how different are people, compared with how
#' well each is known? A group model is shown as a forest plot with one panel
#' per module and covariate, for coefficients of different modules can differ
#' in size a hundredfold.
#'
#' @param object A [spice_fit()] or [spice_group()].
#' @param conf.level Level of the intervals; for a group model `NULL` takes
#'   that of the analysis.
#' @param intercept Show the intercepts of a group model, too?
#' @param ... Not used.
#' @return A `ggplot` object.
#' @name autoplot.spice_fit
#' @examples
#' autoplot(example_fit)
#' autoplot(example_group)
NULL

#' @rdname autoplot.spice_fit
#' @export
autoplot.spice_fit <- function(object, conf.level = 0.95, ...) { # nolint: object_name_linter.
  table <- caterpillar_table(tidy(object, conf.int = TRUE, conf.level = conf.level))
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
      x = paste0("Estimate with ", 100 * conf.level, "% interval; dashed: mean"),
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

panel_label <- function(component, term) {
  paste0(component, "\n", ifelse(term == "1", "constant", term))
}

panel_means <- function(table) {
  stats::aggregate(estimate ~ panel, data = table[table$present, ], FUN = mean)
}

#' @rdname autoplot.spice_fit
#' @export
autoplot.spice_group <- function(object, conf.level = NULL, intercept = FALSE, ...) { # nolint: object_name_linter.
  level <- if (is.null(conf.level)) object$coefficients$conf_level[[1]] else conf.level
  table <- forest_table(tidy(object, conf.int = TRUE, conf.level = conf.level), intercept)
  ggplot2::ggplot(table, ggplot2::aes(.data$estimate, .data$row, colour = .data$verdict)) +
    ggplot2::geom_vline(xintercept = 0, colour = "grey55", linewidth = 0.4) +
    ggplot2::geom_linerange(
      ggplot2::aes(xmin = .data$conf.low, xmax = .data$conf.high),
      linewidth = 0.8, na.rm = TRUE, show.legend = FALSE
    ) +
    ggplot2::geom_point(size = 2.4, na.rm = TRUE) +
    ggplot2::facet_wrap(~panel, scales = "free", ncol = nlevels(table$term)) +
    ggplot2::scale_x_continuous(n.breaks = 4, expand = ggplot2::expansion(mult = 0.1)) +
    ggplot2::scale_colour_manual(NULL, values = verdict_colours, limits = verdicts_shown) +
    ggplot2::labs(
      x = paste0("Effect on the coefficient with ", 100 * level, "% interval"), y = NULL,
      caption = if (any(table$verdict == "withheld")) {
        "Withheld: too few participants have an identified estimate."
      }
    ) +
    plot_theme() +
    ggplot2::theme(panel.grid.major.y = ggplot2::element_blank())
}

verdict_colours <- c(
  "adjusted p < .05" = "#1F5A87", "adjusted p >= .05" = "grey55", "withheld" = "#C8553D"
)

verdicts_shown <- function(found) {
  intersect(names(verdict_colours), found)
}

forest_table <- function(table, intercept) {
  if (!intercept && any(table$term != "(Intercept)")) {
    table <- table[table$term != "(Intercept)", ]
  }
  small <- table$p.adjusted < 0.05
  table$verdict <- names(verdict_colours)[ifelse(is.na(small), 3, ifelse(small, 1, 2))]
  row <- ifelse(table$sparse.term == "1", "constant", table$sparse.term)
  table$row <- factor(row, levels = rev(unique(row)))
  table$term <- factor(table$term, levels = unique(table$term))
  # by row of panels one module, whose coefficients are of one size, by column one covariate
  table$component <- factor(table$component, levels = unique(table$component))
  table <- table[order(table$component, table$term), ]
  panel <- paste(table$component, table$term, sep = "\n")
  table$panel <- factor(panel, levels = unique(panel))
  table
}

plot_theme <- function() {
  ggplot2::theme_minimal(base_size = 11) +
    ggplot2::theme(
      panel.grid.minor = ggplot2::element_blank(),
      panel.spacing = ggplot2::unit(1, "lines"),
      strip.text = ggplot2::element_text(face = "bold", hjust = 0, lineheight = 1.1),
      axis.title = ggplot2::element_text(colour = "grey30"),
      legend.position = "bottom",
      plot.title.position = "plot",
      plot.background = ggplot2::element_rect(fill = "white", colour = NA)
    )
}
