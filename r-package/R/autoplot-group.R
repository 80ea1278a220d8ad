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
#'   the participants' other covariates, also where it depends on them, which
#'   the caption then says; `emmeans::emmeans()` has means by two covariates.
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
      caption = forest_caption(columns$caption, table$verdict, object)
    ) +
    plot_theme() +
    # titles may stand beyond a narrow panel
    ggplot2::theme(panel.grid.major.y = ggplot2::element_blank(), strip.clip = "off")
}

forest_caption <- function(about, verdicts, group) {
  withheld <- if (any(verdicts == "withheld")) strwrap(paste("Withheld:", withheld_because(group)), 80)
  if (length(c(about, withheld)) > 0) paste(c(about, withheld), collapse = "\n")
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
  table$name <- coefficient_label(table$component, table$sparse.term, note)
  width <- 60 %/% nlevels(table$term)
  fits <- all(nchar(unlist(strsplit(wrap_label(levels(table$term), width), "\n"))) <= width)
  if (fits) effects_as_columns(table, modules, width) else effects_as_rows(table)
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
  ggplot2::ggplot(table, ggplot2::aes(.data$centre, .data$rank)) +
    ggplot2::geom_linerange(
      ggplot2::aes(xmin = .data$low, xmax = .data$high),
      linewidth = 0.5, alpha = 0.45, colour = "#1F5A87", na.rm = TRUE
    ) +
    ggplot2::geom_point(ggplot2::aes(.data$.observed), size = 1, colour = "grey65", na.rm = TRUE) +
    ggplot2::geom_point(size = 1.3, colour = "#1F5A87", na.rm = TRUE) +
    ggplot2::facet_wrap(~panel, scales = "free_x") +
    ggplot2::scale_y_continuous(breaks = NULL, expand = ggplot2::expansion(add = 1)) +
    ggplot2::labs(
      x = paste0(
        if (attr(table, "posterior")) "Coefficient as the model estimates it" else "Own estimate",
        " with ", 100 * level, "% interval", if (attr(table, "posterior")) "; grey: own estimate"
      ),
      y = "Participants, in order"
    ) +
    plot_theme()
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
  key <- paste(table$component, table$sparse.term)
  label <- panel_label(table$component, table$sparse.term, link_of(group, table$component, table$sparse.term))
  factor(key, unique(key), label[!duplicated(key)])
}

covariate_plot <- function(object, covariate, level) {
  people <- augment(object)
  people$panel <- group_panel(people, object)
  people$x <- people[[covariate]]
  means <- covariate_means(object, covariate, level)
  means$panel <- group_panel(means, object)
  ggplot2::ggplot(people, ggplot2::aes(.data$x, .data$.observed)) +
    covariate_layers(means, is_category(people$x)) +
    ggplot2::facet_wrap(~panel, scales = "free_y") +
    ggplot2::labs(
      x = covariate, y = "Coefficient (grey: own estimates)",
      caption = mean_caption(object, covariate, level)
    ) +
    plot_theme()
}

#' What the means in a plot against one covariate are about
#' @noRd
mean_caption <- function(object, covariate, level) {
  others <- setdiff(intersect(all.vars(fixed_part(formula(object))), names(model_data(object))), covariate)
  variables <- attr(known_design(object)$terms, "factors") > 0
  of_covariate <- colSums(variables[is_about(rownames(variables), covariate), , drop = FALSE]) > 0
  together <- rowSums(variables[, of_covariate, drop = FALSE]) > 0
  moderators <- intersect(others, all_variables(rownames(variables)[together]))
  paste0(
    "Blue: mean that the model predicts, with ", 100 * level, "% interval",
    if (length(others) > 0) paste0(",\naveraged over the participants' ", listed(others)),
    if (length(moderators) > 0) paste0(",\nalthough it depends on ", listed(moderators), " (interaction)"), "."
  )
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

covariate_layers <- function(means, levels) {
  points <- function(position) {
    ggplot2::geom_point(size = 1.2, colour = "grey60", na.rm = TRUE, position = position)
  }
  if (levels) {
    return(list(
      points(ggplot2::position_jitter(width = 0.12, height = 0, seed = 1)),
      ggplot2::geom_pointrange(
        ggplot2::aes(y = .data$.fitted, ymin = .data$.lower, ymax = .data$.upper),
        data = means, colour = "#1F5A87", linewidth = 0.9, na.rm = TRUE
      )
    ))
  }
  list(
    points("identity"),
    ggplot2::geom_ribbon(
      ggplot2::aes(y = .data$.fitted, ymin = .data$.lower, ymax = .data$.upper),
      data = means, fill = "#1F5A87", alpha = 0.2, na.rm = TRUE
    ),
    ggplot2::geom_line(ggplot2::aes(y = .data$.fitted), data = means, colour = "#1F5A87", linewidth = 0.8)
  )
}

#' Means at values of one covariate, over the participants' values of the others
#' @noRd
covariate_means <- function(object, covariate, level) {
  data <- model_data(object)
  own <- data[[covariate]]
  values <- if (is_category(own)) sort(unique(own)) else seq(min(own), max(own), length.out = 50)
  rows <- mean_rows(object, covariate, values)
  parts <- lapply(split_effects(tidy(object)), function(table) {
    cbind(x = values, expected_rows(object, table, rows, level))
  })
  do.call(rbind, unname(parts))
}

#' The mean row of the design if everybody had a value of a covariate, for each of some values
#' @noRd
mean_rows <- function(group, covariate, values) {
  data <- model_data(group)
  do.call(rbind, lapply(seq_along(values), function(k) {
    data[[covariate]] <- rep(values[k], nrow(data))
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
