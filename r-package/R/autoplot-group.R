#' Plot a group model
#'
#' @param object,x A [spice_group()].
#' @param type `"forest"`: effects of the covariates, with one row of panels per
#'   module and one column per covariate, for these can differ in size a
#'   hundredfold; or, where effects are too many for columns, one panel per
#'   coefficient with the effects as rows. Where the model has a link, the label names the scale, such as
#'   `(log odds)`. `"caterpillar"`: participants in order of their coefficient as
#'   the model estimates it (own estimate in grey). `"covariate"`: coefficients
#'   against a covariate, with the mean that the model predicts, averaged over
#'   the participants' other covariates. Where the formula has an interaction of the covariate, there is
#'   one mean for each level of the other covariate, or at its mean and one standard deviation
#'   on either side of it; on a third one the mean may depend, too, which the caption says.
#'   Own estimates far beyond all others are drawn at the edge of their panel, which they would
#'   stretch, as `<` and `>` or triangles, and those that did not enter the model as open circles.
#' @param covariate For `type = "covariate"`: a covariate of the formula, as a
#'   bare name or text; by default the first.
#' @param conf.level Level of the intervals; `NULL` takes that of the analysis.
#' @param intercept Show the intercepts in the forest plot, too?
#' @param ... Not used; for `plot()`, passed on to `autoplot()`.
#' @return A `ggplot` object; `plot()` draws it and returns `x`, invisibly.
#' @export
#' @examples
#' autoplot(example_group)
#' autoplot(example_group, type = "caterpillar")
#' autoplot(example_group, type = "covariate", covariate = age)
autoplot.spice_group <- function(object, type = c("forest", "caterpillar", "covariate"), covariate = NULL,
                                 conf.level = NULL, intercept = FALSE, ...) { # nolint: object_name_linter.
  check_dots(...)
  type <- rlang::arg_match(type)
  level <- if (is.null(conf.level)) object$coefficients$conf_level[[1]] else check_level(conf.level)
  if (type == "forest") {
    return(forest_plot(object, conf.level, level, intercept))
  }
  if (type == "caterpillar") {
    return(group_caterpillar_plot(object, level))
  }
  covariate_plot(object, covariate_of(object, rlang::enquo(covariate), rlang::current_env()), level)
}

#' A covariate of the formula that is asked for, by default the first
#' @noRd
covariate_of <- function(group, quo, call) {
  known <- intersect(all.vars(fixed_part(formula(group))), names(model_data(group)))
  if (length(known) == 0) abort_spicestat("config", "the model has no covariate.", call = call)
  name <- column_name(quo, known, "covariate", call)
  if (is.null(name)) known[1] else name
}

#' @rdname autoplot.spice_group
#' @export
plot.spice_group <- function(x, ...) {
  print(autoplot(x, ...))
  invisible(x)
}

forest_plot <- function(object, conf.level, level, intercept) { # nolint: object_name_linter.
  table <- forest_table(tidy(object, conf.int = TRUE, conf.level = conf.level), object, intercept)
  columns <- attr(table, "columns")
  titles <- function(panels) data.frame(columns$title(as.character(panels[[1]])))
  coefficients <- length(unique(table$coefficient))
  ggplot2::ggplot(table, ggplot2::aes(.data$estimate, .data$row, colour = .data$verdict)) +
    ggplot2::geom_vline(xintercept = 0, colour = "grey55", linewidth = 0.4) +
    ggplot2::geom_linerange(
      ggplot2::aes(xmin = .data$conf.low, xmax = .data$conf.high),
      linewidth = 0.8, na.rm = TRUE, show.legend = FALSE
    ) +
    ggplot2::geom_point(size = 2.4, na.rm = TRUE) +
    ggplot2::facet_wrap(~panel, scales = columns$scales, ncol = columns$n, drop = FALSE, labeller = titles) +
    ggplot2::scale_x_continuous(
      n.breaks = 3, expand = ggplot2::expansion(mult = 0.1), guide = ggplot2::guide_axis(check.overlap = TRUE)
    ) +
    ggplot2::scale_y_discrete(labels = stats::setNames(table$label, table$row)) +
    ggplot2::scale_colour_manual(NULL, values = verdict_colours, limits = verdicts_shown) +
    ggplot2::labs(
      x = paste0("Effect on the coefficient with ", 100 * level, "% interval"), y = NULL,
      caption = forest_caption(columns$caption, table$verdict, object),
      subtitle = module_subtitle(table$component, coefficients)
    ) +
    plot_theme() +
    ggplot2::theme(
      panel.grid.major.y = ggplot2::element_blank(),
      axis.text.y = ggplot2::element_text(size = label_size(table, columns$n))
    )
}

#' Size of the labels of rows, of which a figure of usual height has room for 24
#' @noRd
label_size <- function(table, n_columns) {
  rows <- nlevels(droplevels(table$row)) * ceiling(nlevels(droplevels(table$panel)) / n_columns)
  max(5.5, min(8.8, 8.8 * 24 / rows))
}

forest_caption <- function(about, verdicts, group) {
  joined_caption(about, if (any(verdicts == "withheld")) paste("Withheld:", withheld_because(group)))
}

verdict_colours <- c(
  "adjusted p < .05" = "#1F5A87", "adjusted p >= .05" = "grey55",
  "0 outside the interval" = "#1F5A87", "0 in the interval" = "grey55", "withheld" = "#C8553D"
)

verdicts_shown <- function(found) {
  intersect(names(verdict_colours), found)
}

forest_table <- function(table, group, intercept) {
  if (!intercept && any(table$term != "(Intercept)")) {
    table <- table[table$term != "(Intercept)", ]
  }
  table$verdict <- verdict(table)
  modules <- unique(table$component)
  table$term <- factor(table$term, unique(table$term))
  table <- table[order(match(table$component, modules), table$term), ]
  note <- effect_note(group, table)
  table$coefficient <- paste(table$component, table$sparse.term, note)
  table$name <- if (is_one_module(table$component, length(unique(table$coefficient)))) {
    wrap_label(paste0(term_label(table$component, table$sparse.term), note), 28)
  } else {
    coefficient_label(table$component, table$sparse.term, note)
  }
  width <- 60 %/% nlevels(table$term)
  fits <- all(nchar(unlist(strsplit(wrap_label(levels(table$term), width), "\n"))) <= width)
  if (fits) {
    effects_as_columns(table, modules, width)
  } else if (length(unique(table$coefficient)) > nlevels(table$term)) {
    effects_as_panels(table)
  } else {
    effects_as_rows(table)
  }
}

#' By row of panels one module, whose coefficients are of one size, and by column one effect
#' @noRd
effects_as_columns <- function(table, modules, width) {
  table$panel <- factor(
    paste(table$component, table$term, sep = "\r"),
    levels = paste(rep(modules, each = nlevels(table$term)), levels(table$term), sep = "\r")
  )
  coefficient <- table$coefficient
  # a coefficient's label stands at the left alone
  table$label <- ifelse(duplicated(coefficient), "", table$name)
  table$row <- stats::reorder(paste(coefficient, table$term), -match(coefficient, unique(coefficient)))
  title <- function(panels) wrap_label(sub(".*\r", "", panels), width)
  structure(table, columns = list(n = nlevels(table$term), scales = "free", title = title))
}

#' One panel per coefficient, where effects are too many, or have too long names, for columns
#' @noRd
effects_as_rows <- function(table) {
  table$panel <- factor(table$name, unique(table$name))
  table$row <- factor(table$term, rev(levels(table$term)))
  table$label <- wrap_label(as.character(table$term), 24)
  structure(table, columns = list(
    n = min(3, nlevels(table$panel)), scales = "free_x", title = identity,
    caption = "Effects are per unit of their covariates."
  ))
}

#' One panel per effect, where coefficients are many
#' @noRd
effects_as_panels <- function(table) {
  table$panel <- table$term
  table$row <- factor(table$coefficient, rev(unique(table$coefficient)))
  table$label <- table$name
  columns <- min(3, nlevels(table$panel))
  structure(table, columns = list(
    n = columns, scales = "free_x", title = function(panels) wrap_label(panels, 66 %/% columns),
    caption = "Effects are per unit of their covariates."
  ))
}

# a posterior has intervals and no p-values
verdict <- function(table) {
  apart <- table$conf.low > 0 | table$conf.high < 0
  ifelse(
    is.na(table$conf.low) & is.na(table$p.adjusted), "withheld",
    ifelse(
      is.na(table$p.adjusted), ifelse(apart, "0 outside the interval", "0 in the interval"),
      ifelse(table$p.adjusted < 0.05, "adjusted p < .05", "adjusted p >= .05")
    )
  )
}

group_caterpillar_plot <- function(object, level) {
  table <- group_caterpillar_table(object, stats::qnorm((1 + level) / 2))
  own <- table$.observed
  ends <- fences(pmin(own, table$low, na.rm = TRUE), pmax(own, table$high, na.rm = TRUE), table$panel)
  table$shape <- shapes_of(own, ends, ifelse(table$.used, 16, 1))
  table$own <- clip(own, ends)
  posterior <- attr(table, "posterior")
  for (name in c("centre", "low", "high")) table[[name]] <- clip(table[[name]], ends)
  ggplot2::ggplot(table, ggplot2::aes(.data$centre, .data$rank)) +
    ggplot2::geom_linerange(
      ggplot2::aes(xmin = .data$low, xmax = .data$high),
      linewidth = 0.5, alpha = 0.45, colour = "#1F5A87", na.rm = TRUE
    ) +
    ggplot2::geom_point(
      ggplot2::aes(.data$own, shape = .data$shape, size = sizes_of(.data$shape)),
      colour = if (posterior) "grey65" else "#1F5A87", na.rm = TRUE
    ) +
    (if (posterior) ggplot2::geom_point(size = 1.3, colour = "#1F5A87", na.rm = TRUE)) +
    point_scales() +
    ggplot2::facet_wrap(~panel, scales = "free_x") +
    narrow_axis() +
    ggplot2::scale_y_continuous(breaks = NULL, expand = ggplot2::expansion(add = 1)) +
    ggplot2::labs(
      x = paste0(
        if (posterior) "Coefficient as the model estimates it" else "Own estimate",
        " with ", 100 * level, "% interval", if (posterior) "; grey: own estimate"
      ),
      y = "Participants, in order",
      caption = joined_caption(
        beyond_caption(own, ends), unused_caption(table), undrawn_caption(own, "own estimate")
      ),
      subtitle = module_subtitle(table$component, nlevels(table$panel))
    ) +
    plot_theme()
}

unused_caption <- function(table) {
  if (any(!table$.used & !is.na(table$.observed))) {
    "Open circles: at a bound, not converged or without a standard error; did not enter the model."
  }
}

group_caterpillar_table <- function(object, width) {
  table <- augment(object)
  posterior <- any(!is.na(table$.posterior))
  table$centre <- if (posterior) table$.posterior else table$.observed
  error <- if (posterior) table$.se.posterior else table$std.error
  table$low <- table$centre - width * error
  table$high <- table$centre + width * error
  table$panel <- group_panel(table, object)
  table$rank <- stats::ave(table$centre, table$panel, FUN = function(x) rank(x, ties.method = "first"))
  attr(table, "posterior") <- posterior
  table
}

group_panel <- function(table, group) {
  panel_titles(table$component, table$sparse.term, link_of(group, table$component, table$sparse.term))
}

covariate_plot <- function(object, covariate, level) {
  people <- augment(object)
  people$panel <- group_panel(people, object)
  people$x <- people[[covariate]]
  by <- drawn_moderator(object, covariate)
  means <- covariate_means(object, covariate, level, by)
  means$panel <- group_panel(means, object)
  ends <- fences(people$.observed, people$.observed, people$panel)
  people$shape <- shapes_of(people$.observed, ends, ifelse(people$.used, 16, 1), 6, 2)
  people$y <- clip(people$.observed, ends)
  levels <- is_category(people$x)
  apart <- !is.null(by) && is_category(people[[by]])
  people$by <- if (apart) factor(as.character(people[[by]]), levels(means$by)) else "grey60"
  if (apart && !levels) means <- means[within_range(means, people), ]
  ggplot2::ggplot(people, ggplot2::aes(.data$x, .data$y)) +
    covariate_layers(means, levels, apart) +
    point_scales() +
    moderator_scale(by, means) +
    ggplot2::facet_wrap(~panel, scales = "free_y") +
    ggplot2::scale_y_continuous(n.breaks = 4, guide = ggplot2::guide_axis(check.overlap = TRUE)) +
    (if (levels) category_axis(people$x, nlevels(people$panel))) +
    ggplot2::labs(
      x = covariate,
      y = paste0("Coefficient\n(", if (apart) "points" else "grey", ": own estimates)"),
      caption = joined_caption(
        mean_caption(object, covariate, level),
        if (all(is.na(means$.lower))) paste("Intervals are withheld:", withheld_because(object)),
        beyond_caption(people$.observed, ends, "Triangles"),
        unused_caption(people), undrawn_caption(people$.observed, "own estimate")
      ),
      subtitle = module_subtitle(people$component, nlevels(people$panel))
    ) +
    plot_theme()
}

#' Where a mean is about people who are there: no line goes beyond the values that a level has
#' @noRd
within_range <- function(means, people) {
  ends <- vapply(split(people$x, people$by), range, numeric(2))
  at <- as.character(means$by)
  means$x >= ends[1, at] & means$x <= ends[2, at]
}

#' The scale of a covariate that means are apart for, which is the one colour where there is none
#' @noRd
moderator_scale <- function(by, means) {
  if (is.null(by)) {
    return(list(ggplot2::scale_colour_identity(), ggplot2::scale_fill_identity()))
  }
  level_scale(by, nlevels(means$by))
}

#' Names of categories, at an angle where they would run into each other
#' @noRd
category_axis <- function(x, n_panels) {
  room <- sum(nchar(as.character(unique(x))) + 2) * panel_columns(n_panels)
  ggplot2::scale_x_discrete(guide = ggplot2::guide_axis(angle = if (room > 75) 35))
}

#' What the means in a plot against one covariate are about
#' @noRd
mean_caption <- function(object, covariate, level) {
  by <- drawn_moderator(object, covariate)
  others <- setdiff(intersect(all.vars(fixed_part(formula(object))), names(model_data(object))), c(covariate, by))
  moderators <- setdiff(moderators_of(object, covariate), by)
  at <- if (!is.null(by) && !is_category(model_data(object)[[by]])) {
    paste0(" at the mean of ", by, " and one SD on either side")
  }
  paste0(
    if (is.null(by)) "Blue" else "Colours", ": mean that the model predicts", at, ", with ", 100 * level, "% interval",
    if (length(others) > 0) paste0(",\naveraged over the participants' ", listed(others)),
    if (length(moderators) > 0) paste0(",\nalthough it depends on ", listed(moderators), " (interaction)"), "."
  )
}

#' Covariates on which the effect of another depends
#' @noRd
moderators_of <- function(object, covariate) {
  variables <- attr(known_design(object)$terms, "factors") > 0
  of_covariate <- colSums(variables[is_about(rownames(variables), covariate), , drop = FALSE]) > 0
  together <- rowSums(variables[, of_covariate, drop = FALSE]) > 0
  setdiff(intersect(all_variables(rownames(variables)[together]), names(model_data(object))), covariate)
}

#' The one of them that means are apart for, if there are colours for its levels
#' @noRd
drawn_moderator <- function(object, covariate) {
  few <- function(name) {
    own <- model_data(object)[[name]]
    !is_category(own) || length(unique(own)) <= length(level_colours)
  }
  found <- Filter(few, moderators_of(object, covariate))
  if (length(found) > 0) found[[1]]
}

all_variables <- function(terms) {
  unlist(lapply(terms, function(term) all.vars(str2lang(term))))
}

is_about <- function(terms, covariate) {
  vapply(terms, function(term) covariate %in% all_variables(term), NA)
}

listed <- function(names) {
  sub(", ([^,]*)$", " and \\1", paste(names, collapse = ", "))
}

covariate_layers <- function(means, levels, apart) {
  points <- function(position) {
    if (apart) {
      own <- ggplot2::aes(shape = .data$shape, colour = .data$by)
      return(ggplot2::geom_point(own, size = 1.2, alpha = 0.45, na.rm = TRUE, position = position))
    }
    own <- ggplot2::aes(shape = .data$shape)
    ggplot2::geom_point(own, size = 1.2, colour = "grey60", na.rm = TRUE, position = position)
  }
  if (levels) {
    dodge <- ggplot2::position_dodge(0.5)
    beside <- ggplot2::position_jitterdodge(jitter.width = 0.15, dodge.width = 0.5, seed = 1)
    mean <- ggplot2::aes(y = .data$.fitted, colour = .data$by)
    interval <- ggplot2::aes(y = .data$.fitted, ymin = .data$.lower, ymax = .data$.upper, colour = .data$by)
    return(list(
      points(if (apart) beside else ggplot2::position_jitter(width = 0.12, height = 0, seed = 1)),
      ggplot2::geom_linerange(interval, data = means, linewidth = 0.8, na.rm = TRUE, position = dodge),
      ggplot2::geom_point(mean, data = means, size = 1.8, position = dodge)
    ))
  }
  list(
    points("identity"),
    ggplot2::geom_ribbon(
      ggplot2::aes(y = .data$.fitted, ymin = .data$.lower, ymax = .data$.upper, fill = .data$by),
      data = means, alpha = 0.2, na.rm = TRUE
    ),
    ggplot2::geom_line(ggplot2::aes(y = .data$.fitted, colour = .data$by), data = means, linewidth = 0.8)
  )
}

#' Means at values of one covariate, and at values of another, over the participants' values of all others
#' @noRd
covariate_means <- function(object, covariate, level, by = NULL) {
  data <- model_data(object)
  own <- data[[covariate]]
  at <- list(x = if (is_category(own)) sort(unique(own)) else seq(min(own), max(own), length.out = 50))
  at$by <- if (is.null(by)) "#1F5A87" else moderator_values(data[[by]])
  grid <- expand.grid(at, stringsAsFactors = FALSE)
  rows <- mean_rows(object, stats::setNames(as.list(grid[c("x", if (!is.null(by)) "by")]), c(covariate, by)))
  labels <- if (is.numeric(at$by)) formatC(at$by, digits = 3, format = "fg") else as.character(at$by)
  grid$by <- factor(match(grid$by, at$by), seq_along(labels), labels)
  parts <- lapply(split_effects(tidy(object)), function(table) {
    cbind(grid, expected_rows(object, table, rows, level))
  })
  do.call(rbind, unname(parts))
}

#' Levels of a category; of a number its mean and one standard deviation on either side
#' @noRd
moderator_values <- function(own) {
  if (is_category(own)) sort(unique(own)) else mean(own) + c(-1, 0, 1) * stats::sd(own)
}

#' The mean row of the design if everybody had some values of some covariates, for each of these
#' @noRd
mean_rows <- function(group, values) {
  data <- model_data(group)
  do.call(rbind, lapply(seq_along(values[[1]]), function(k) {
    for (name in names(values)) data[[name]] <- rep(values[[name]][k], nrow(data))
    colMeans(matrix_for(group$design, data))
  }))
}

#' Effects by coefficient of the equations
#' @noRd
split_effects <- function(table, call = rlang::caller_env()) {
  if (anyDuplicated(effect_names(table))) {
    abort_spicestat("config", c(
      "a hurdle model of two parts expects no single value of a coefficient.",
      i = "Use method = \"presence\" for one part, and \"meta\" for the other."
    ), call = call)
  }
  split_in_order(table, paste(table$component, table$sparse.term, sep = ":"))
}
