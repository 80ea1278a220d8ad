# Who enters a group model, and with which covariates. Rules and messages are those of the engine, in
# spicestat/group/inputs/alignment.py, so that methods of R packages analyse the same people.

#' Labels as text; as.character() would make 1e+05 of 100000
#' @noRd
label_text <- function(labels) {
  if (is.numeric(labels)) {
    return(format(labels, trim = TRUE, scientific = FALSE, digits = 15, drop0trailing = TRUE))
  }
  as.character(labels)
}

#' Text by which a participant's label is matched: 1, 1.0 and "1" are one person
#' @noRd
id_key <- function(labels) {
  trimws(gsub("[\u200b\u200c\u200d\u2060\ufeff]", "", label_text(labels)))
}

#' What is left of a label without case, blanks and zeros in front of numbers
#' @noRd
loose_key <- function(labels) {
  bare <- gsub("[[:space:]]", "", tolower(id_key(labels)))
  sub("^(-?[0-9]+)\\.0$", "\\1", gsub("(?<![0-9.])0+(?=[0-9])", "", bare, perl = TRUE))
}

#' An id without a row beside a row without an id that looks like it is an error, and no missing value
#' @noRd
check_alike <- function(labels, offered, call) {
  lost <- labels[!id_key(labels) %in% id_key(offered)]
  spare <- offered[!is.na(offered) & !id_key(offered) %in% id_key(labels)]
  partner <- match(loose_key(lost), loose_key(spare))
  if (!all(is.na(partner))) {
    pairs <- paste0("'", lost, "' and '", spare[partner], "'")[!is.na(partner)]
    abort_spicestat("covariate", paste0(
      "ids of ", length(pairs), " participants look alike, but are not the same in the coefficients and in the ",
      "covariate table. Got: ", paste(utils::head(pairs, 3), collapse = ", "), if (length(pairs) > 3) ", ...",
      ". Try: write them the same way in both tables; zeros in front stay where ids are read as text."
    ), call = call)
  }
}

#' Name the first few participants and count the others
#' @noRd
name_some <- function(labels, limit = 5) {
  shown <- utils::head(labels, limit)
  shown <- if (is.numeric(shown)) format(shown, trim = TRUE) else paste0("'", shown, "'")
  more <- length(labels) - limit
  paste0(paste(shown, collapse = ", "), if (more > 0) paste0(" and ", more, " more"))
}

#' Covariates in the order of the given participants
#'
#' @return A list: `people`, a data frame whose first column is `participant`,
#'   and `positions`, where its rows are among `participants`.
#' @noRd
align_people <- function(participants, people, id, call) {
  keys <- id_key(participants)
  if (is.null(people)) {
    return(list(people = data.frame(participant = participants), positions = seq_along(keys)))
  }
  # a data.table would take [ for a join
  people <- as.data.frame(people)
  given <- id_key(people[[id]])
  given[is.na(people[[id]])] <- NA
  check_one_row_each(people[[id]], given, call)
  check_alike(participants, people[[id]], call)
  row <- match(keys, given, incomparables = NA)
  if (all(is.na(row))) {
    abort_spicestat("data", paste0(
      "no participant of the coefficient table is in the covariate table. Got: ", name_some(participants, 3),
      " in the coefficients and ", name_some(people[[id]], 3), " in column '", id,
      "' of the covariates. Try: use the same labels in both tables."
    ), call = call)
  }
  missing <- is.na(row)
  if (any(missing)) {
    warn_spicestat("exclusion", paste0(
      sum(missing), " of ", length(keys), " participants have no row in the covariate table and are left out: ",
      name_some(participants[missing]), "."
    ))
  }
  covariates <- people[row[!missing], setdiff(names(people), c(id, "participant")), drop = FALSE]
  aligned <- cbind(data.frame(participant = participants[!missing]), covariates)
  rownames(aligned) <- NULL
  list(people = aligned, positions = which(!missing))
}

#' Refuse names that say two columns of a table of people
#' @noRd
check_names <- function(names, used, call) {
  twice <- intersect(unique(names[duplicated(names)]), used)
  if (length(twice) > 0) {
    abort_spicestat("column", c(
      paste0("`data` has more than one column ", name_some(twice), ", so that it is not known which is meant."),
      i = "Rename or remove one: names(data) <- make.unique(names(data)) tells them apart."
    ), call = call)
  }
}

check_one_row_each <- function(labels, keys, call) {
  twice <- !is.na(keys) & duplicated(keys)
  if (any(twice)) {
    abort_spicestat("covariate", paste0(
      length(unique(keys[twice])), " participants have more than one row in the covariate table: ",
      name_some(unique(labels[twice])), ". Try: give one row per participant."
    ), call = call)
  }
}

warn_lacking <- function(people, used, complete) {
  if (all(complete)) {
    return(invisible())
  }
  lacking <- used[vapply(people[used], anyNA, NA)]
  who <- unique(people$participant[!complete])
  # a person's occasions are rows of their own
  on <- if (anyDuplicated(people$participant)) paste0("on ", sum(!complete), " occasions, which are") else "and are"
  warn_spicestat("exclusion", paste0(
    length(who), " of ", length(unique(people$participant)), " participants lack ",
    paste0("'", lacking, "'", collapse = " or "), " ", on, " left out: ", name_some(who), "."
  ))
}

#' Who is in a group model, and the formula that they are in it by
#'
#' @return A list: `formula`, as written but for `.`, and `people` and `positions` as from `align_people()`, with
#'   `person`, the column that tells people apart, and `aliases`, other names of it.
#' @noRd
group_people <- function(fit, estimates, formula, data, id, missing, call) {
  own <- is.null(data)
  fitted <- inherits(fit, "spice_fit")
  occasions <- if (fitted) fit$occasions
  aliases <- c("participant", id, if (fitted) as.character(called_participant(fit)))
  if (own) {
    data <- if (fitted) fit$people
    id <- "participant"
    if (is.null(missing)) missing <- if (fitted) settled_columns(fit)
  }
  person <- if (is.null(occasions)) "participant" else "person"
  if (!is.null(data)) {
    check_names(names(data), c(all.vars(formula), id), call)
    data <- with_session_columns(plain_people(data, id, missing), formula, aliases)
    covariates <- setdiff(names(data), c(id, "participant", "person"))
    formula <- without_dot(formula, covariates, call)
    check_categories(fixed_part(formula), data, id, call)
    notice_covariates(data[covariates], missing, all.vars(formula), call)
  }
  aligned <- if (!is.null(occasions) && !own) {
    joined_people(fit, data, id, missing, call)
  } else {
    align_people(unique(estimates$participant), data, id, call)
  }
  check_free(intersect(all.vars(formula), names(aligned$people)), reserved_columns, call)
  c(aligned, list(formula = formula, person = person, aliases = aliases))
}

#' Covariates of people on occasions, joined by the engine as it joined them for the fit
#' @noRd
joined_people <- function(fit, data, id, missing, call) {
  # NULL, which says nothing, is not sent: to R 4.4 and later it is no atomic vector
  options <- engine_options(list(participant = id, missing = missing), call)
  tables <- with_fit_folder(fit, function(folder) {
    call_bridge("people", folder, list(encode_table(data, call = call)), options, call = call)
  })
  people <- as.data.frame(decode_table(tables$people))
  list(people = people, positions = seq_len(nrow(people)))
}

#' What was said about missing values when a fit's own covariates were read; NULL for nothing
#' @noRd
settled_columns <- function(fit) {
  columns <- fit$settled$column
  if (anyNA(columns)) {
    return(list())
  }
  if (length(columns) > 0) stats::setNames(rep(list(list()), length(columns)), columns)
}

#' The design of a group model's people
#' @noRd
design_of_people <- function(people, call) {
  names <- setdiff(people$aliases, names(people$people)[names(people$people) != "participant"])
  alias <- stats::setNames(rep(list(as.symbol(people$person)), length(names)), names)
  formula <- people$formula
  formula[[2]] <- do.call(substitute, list(formula[[2]], alias))
  design <- group_design(formula, people$people, call)
  design$rows <- people$positions[design$rows]
  for (k in seq_along(design$random)) {
    groups <- strsplit(design$random[[k]]$group, ":", fixed = TRUE)[[1]]
    design$random[[k]]$group <- paste(replace(groups, groups == people$person, "participant"), collapse = ":")
  }
  design
}
