#' Plot a fit
#'
#' @param object,x A [spice_fit()].
#' @param type `"caterpillar"`: one panel per estimated term of the equations,
#'   with participants ordered by their estimates: how different are people,
#'   compared with how well each is known? `"presence"`: the share of
#'   participants whose equation has each term, with 95 % Wilson intervals, and
#'   the mean inclusion probability where an ensemble gives one.
#'   Weights that everybody shares have no panel. Estimates far beyond all others, as of people whose choices
#'   say little, are drawn as `<` or `>` at the edge of their panel, which they would stretch; the caption
#'   says how many these are, and how many are not identified at all.
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
  known <- table[!is.na(table$estimate), ]
  ends <- caterpillar_ends(known)
  known$shape <- shapes_of(known$estimate, ends)
  caption <- joined_caption(beyond_caption(known$estimate, ends), undrawn_caption(table$estimate))
  for (name in c("estimate", "conf.low", "conf.high")) known[[name]] <- clip(known[[name]], ends)
  ggplot2::ggplot(known, ggplot2::aes(.data$estimate, .data$rank, colour = .data$state)) +
    ggplot2::geom_vline(
      ggplot2::aes(xintercept = .data$middle),
      data = panel_middles(table), colour = "grey55", linewidth = 0.4, linetype = "22"
    ) +
    ggplot2::geom_linerange(
      ggplot2::aes(xmin = .data$conf.low, xmax = .data$conf.high),
      linewidth = 0.5, alpha = 0.45, na.rm = TRUE, show.legend = FALSE
    ) +
    ggplot2::geom_point(ggplot2::aes(shape = .data$shape, size = sizes_of(.data$shape))) +
    point_scales() +
    ggplot2::facet_wrap(~panel, scales = "free") +
    state_scale() +
    narrow_axis() +
    ggplot2::scale_y_continuous(breaks = NULL, expand = ggplot2::expansion(add = 1)) +
    ggplot2::labs(
      x = paste0("Estimate with ", 100 * conf_level, "% interval; dashed: median"),
      y = upright_label("Participants, ordered by estimate"), caption = caption,
      subtitle = module_subtitle(table$component, nlevels(table$panel))
    ) +
    plot_theme() +
    ggplot2::theme(legend.position = if (length(unique(known$state)) > 1) "bottom" else "none")
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

#' Ends of the panels, which hold the 0 of those who lack a term, and values that are fixed
#' @noRd
caterpillar_ends <- function(known) {
  ends <- fences(known$conf.low, known$conf.high, known$panel)
  certain <- known$state %in% c("fixed", "not in the equation")
  list(
    lower = pmin(ends$lower, stats::ave(ifelse(certain, known$estimate, Inf), known$panel, FUN = min)),
    upper = pmax(ends$upper, stats::ave(ifelse(certain, known$estimate, -Inf), known$panel, FUN = max))
  )
}

caterpillar_table <- function(table) {
  table$state <- coefficient_state(table)
  key <- paste(table$component, table$term)
  # a panel of fixed coefficients would only say that they are, and so would one of shared weights
  shown <- table$present & !is.na(table$std.error) & !(table$shared %in% TRUE)
  if (!any(shown)) shown <- table$present & !is.na(table$std.error)
  table <- table[key %in% key[shown], ]
  table$panel <- panel_titles(table$component, table$term)
  table$rank <- stats::ave(table$estimate, table$panel, FUN = function(x) rank(x, ties.method = "first"))
  table
}

coefficient_state <- function(table) {
  state <- ifelse(is.na(table$std.error), "fixed", "estimated")
  state[table$at.bound | !table$converged] <- "at a bound or not converged"
  state[!table$present] <- "not in the equation"
  state
}

# a mean would be that of the estimates far off
panel_middles <- function(table) {
  known <- table[table$present & !is.na(table$estimate), ]
  middle <- vapply(split(known$estimate, known$panel, drop = TRUE), stats::median, 0)
  data.frame(panel = factor(names(middle), levels(known$panel)), middle = unname(middle))
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
  kept <- part$selected & is.na(part$std_error) & part$estimate %in% 1
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
