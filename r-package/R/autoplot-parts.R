# What figures of many people share: panels that a few estimates far off do not stretch, and titles that fit.

#' Ends of each row's panel, three interquartile ranges beyond the quartiles of its intervals
#'
#' One normal estimate of 400,000 lies beyond them, while those of people who hardly learn can be a hundred times as
#' large as all others.
#' @noRd
fences <- function(low, high, panel) {
  lower <- stats::ave(low, panel, FUN = function(x) fence(x, 0.25))
  upper <- stats::ave(high, panel, FUN = function(x) fence(x, 0.75))
  list(lower = lower, upper = upper)
}

fence <- function(x, side) {
  reach <- 3 * stats::IQR(x, na.rm = TRUE)
  if (is.na(reach) || reach == 0) reach <- Inf
  stats::quantile(x, side, names = FALSE, na.rm = TRUE) + reach * sign(side - 0.5)
}

clip <- function(x, ends) pmin(pmax(x, ends$lower), ends$upper)

#' A figure's points by the columns `shape` and `size`
#' @noRd
point_scales <- function() list(ggplot2::scale_shape_identity(), ggplot2::scale_size_identity())

#' Below, within or beyond the panel, as a point's shape
#' @noRd
shapes_of <- function(x, ends, within = 16, below = 60, beyond = 62) {
  ifelse(x < ends$lower, below, ifelse(x > ends$upper, beyond, within))
}

#' Words about estimates that a figure cannot show where they are
#' @noRd
beyond_caption <- function(x, ends, marks = "< and >") {
  n <- sum(x < ends$lower | x > ends$upper, na.rm = TRUE)
  if (n > 0) paste0(marks, ": ", count(n, "estimate"), " beyond the panel.")
}

undrawn_caption <- function(x, what = "estimate") {
  n <- sum(is.na(x))
  if (n > 0) paste0("Not drawn: ", count(n, what), " that the choices do not identify.")
}

# letters need more room than points
sizes_of <- function(shape) ifelse(shape %in% c(60, 62), 2.4, 1.3)

joined_caption <- function(...) {
  lines <- unlist(strsplit(as.character(c(...)), "\n", fixed = TRUE))
  if (length(lines) > 0) paste(strwrap(lines, 88), collapse = "\n")
}

#' Titles of panels, one for each row of a table of coefficients, as a factor
#'
#' One module's name stands above all panels, see `module_subtitle()`.
#' @noRd
panel_titles <- function(component, term, link = rep("identity", length(term))) {
  key <- paste(component, term)
  n <- length(unique(key))
  width <- max(12, min(24, 64 %/% panel_columns(n)))
  label <- if (is_one_module(component, n)) {
    wrap_label(paste0(term_label(component, term), scale_note(link)), width)
  } else {
    panel_label(component, term, link, width)
  }
  first <- !duplicated(key)
  factor(key, key[first], make.unique(label[first], " "))
}

panel_columns <- function(n_panels) ggplot2::wrap_dims(n_panels)[2]

is_one_module <- function(component, n_coefficients) n_coefficients > 1 && length(unique(component)) == 1

module_subtitle <- function(component, n_coefficients) {
  if (is_one_module(component, n_coefficients)) plain_name(component[[1]])
}

#' The title of a vertical axis, in lines that fit a figure of four inches whose caption takes some of them
#' @noRd
upright_label <- function(text) wrap_label(text, 24)

#' An axis for panels that may be narrow
#' @noRd
narrow_axis <- function() {
  ggplot2::scale_x_continuous(n.breaks = 4, guide = ggplot2::guide_axis(check.overlap = TRUE))
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
      # titles may stand beyond a narrow panel
      strip.clip = "off",
      axis.title = ggplot2::element_text(colour = "grey30"),
      legend.position = "bottom",
      plot.title.position = "plot",
      plot.background = ggplot2::element_rect(fill = "white", colour = NA)
    )
}

# Okabe & Ito (2008), told apart with every common kind of colour vision
level_colours <- c("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#333333", "#E69F00", "#56B4E9")

#' Colours of the levels of a covariate
#' @noRd
level_scale <- function(name, n) {
  values <- if (n <= length(level_colours)) level_colours else grDevices::hcl.colors(n, "Dark 3")
  ggplot2::scale_colour_manual(name, values = values, aesthetics = c("colour", "fill"))
}
