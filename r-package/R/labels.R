# Coefficients and their scales in plain words, for plots and headings.

link_names <- c(logit = "log odds", log = "log")

#' The link of each coefficient of a group model: "identity", "logit" or "log"
#'
#' A model names links by module ("beta") or by coefficient ("beta:x_value"), which counts first.
#' Presence is analysed by logistic regression.
#' @noRd
link_of <- function(group, module, term) {
  if (group$method == "presence") {
    return(rep("logit", length(module)))
  }
  links <- unlist(group$links)
  found <- links[paste(module, term, sep = ":")]
  found <- ifelse(is.na(found), links[module], found)
  if (length(links) == 0) rep("identity", length(module)) else unname(ifelse(is.na(found), "identity", found))
}

#' The part of a hurdle model and the scale that effects are about, in brackets
#' @noRd
effect_note <- function(group, table) {
  # only models of two parts have the column
  part <- if ("group" %in% names(table)) table$group else rep(NA, nrow(table))
  link <- ifelse(part %in% "presence", "logit", link_of(group, table$component, table$sparse.term))
  paste0(ifelse(is.na(part), "", paste0(", ", part)), scale_note(link))
}

#' " (log odds)", or nothing where a coefficient is on its own scale
#' @noRd
scale_note <- function(link) {
  ifelse(link %in% names(link_names), paste0(" (", link_names[link], ")"), "")
}

#' x_value_reward is "value reward", and "x_value c_reward" a product
#' @noRd
plain_name <- function(name) {
  factors <- gsub("[ *]+", " \u00d7 ", gsub("\\b[xc]_", "", name, perl = TRUE))
  gsub("_", " ", factors, fixed = TRUE)
}

term_label <- function(module, term) {
  ifelse(term == "1", "constant", ifelse(term == module, "own state", plain_name(term)))
}

#' "learning rate: constant (log odds)", in lines that fit a narrow place
#' @noRd
coefficient_label <- function(module, term, note = "", width = 24) {
  wrap_label(paste0(plain_name(module), ": ", term_label(module, term), note), width)
}

#' The same as the title of a panel, which has the term on a line of its own
#' @noRd
panel_label <- function(module, term, link = "identity", width = 24) {
  paste0(
    wrap_label(plain_name(module), width), "\n",
    wrap_label(paste0(term_label(module, term), scale_note(link)), width)
  )
}

# names of one word are broken where it has a point, an underscore or the colon of an interaction
wrap_label <- function(label, width) {
  pieces <- strsplit(gsub("([._]|:(?=\\S))(?=.)", "\\1\r", gsub(" ", " \r", label), perl = TRUE), "\r", fixed = TRUE)
  vapply(pieces, function(parts) {
    lines <- ""
    for (part in parts) {
      last <- length(lines)
      fits <- nchar(trimws(paste0(lines[last], part))) <= width || lines[last] == ""
      if (fits) lines[last] <- paste0(lines[last], part) else lines <- c(lines, part)
    }
    paste(trimws(lines), collapse = "\n")
  }, "", USE.NAMES = FALSE)
}
