# The column protocol: see spicestat/r/columns.py, which is its other half.
# A bare NA, a length-1 vector or a data frame would be changed silently on the
# way through reticulate, so that none of them crosses.

#' A data frame as nested lists that reticulate converts without loss
#'
#' @param optional Names of columns to leave out, rather than refuse, if they
#'   have a type that cannot cross; a warning names them.
#' @noRd
encode_table <- function(data, optional = character(), call = rlang::caller_env()) {
  twice <- unique(names(data)[duplicated(names(data))])
  if (length(twice) > 0) {
    abort_spicestat(
      "column", paste0("two columns have the same name: ", paste(twice, collapse = ", "), "."),
      call = call
    )
  }
  columns <- lapply(names(data), function(name) {
    column <- encode_column(data[[name]])
    if (is.null(column) && !name %in% optional) {
      refuse_column(data[[name]], name, call)
    }
    if (!is.null(column)) c(list(name = enc2utf8(name)), column)
  })
  tell_dropped(data[vapply(columns, is.null, NA)])
  list(nrow = nrow(data), columns = Filter(Negate(is.null), columns))
}

#' Say which columns are left out because no protocol has their type
#' @noRd
tell_dropped <- function(data) {
  if (length(data) > 0) {
    types <- vapply(names(data), function(name) paste0("'", name, "' (", class(data[[name]])[[1]], ")"), "")
    warn_spicestat("suspicious_data", paste0(
      "columns are left out, because their types cannot be used: ", paste(utils::head(types, 5), collapse = ", "),
      if (length(types) > 5) paste(" and", length(types) - 5, "more"),
      ". Convert them to numbers, text, factors or dates, if they are meant."
    ))
  }
}

refuse_column <- function(x, name, call) {
  abort_spicestat(
    "column",
    c(
      paste0("column '", name, "' has a type that cannot be used: ", class(x)[[1]], "."),
      i = "Numbers, logicals, text, factors, dates and date-times can.",
      i = "Convert it, for example with as.numeric() or as.character(), or leave it out."
    ),
    call = call
  )
}

#' One column in protocol form, or NULL if it has none
#' @noRd
encode_column <- function(x) {
  x <- plain_column(x)
  if (!is.null(dim(x)) || !is.atomic(x)) {
    return(NULL)
  }
  type <- column_type(x)
  if (is.null(type)) {
    return(NULL)
  }
  encoded <- switch(type,
    factor = encode_factor(x),
    string = encode_string(x),
    date = encode_date(x),
    datetime = list(values = as.double(x), tz = zone_name(attr(x, "tzone"))),
    integer64 = encode_integer64(x),
    list(values = as.double(x))
  )
  if (is.null(encoded)) {
    return(NULL)
  }
  finish_column(if (type == "integer64") "double" else type, encoded, is_missing(encoded$values))
}

column_type <- function(x) {
  known <- c(
    factor = "factor", Date = "date", POSIXct = "datetime", integer64 = "integer64"
  )
  if (is.object(x)) {
    found <- known[names(known) %in% class(x)]
    return(if (length(found) > 0) found[[1]])
  }
  switch(typeof(x), double = "double", integer = "integer", logical = "logical", character = "string")
}

finish_column <- function(type, encoded, missing) {
  encoded$values[missing] <- if (is.character(encoded$values)) "" else 0
  c(
    list(type = type, values = as_vector(encoded$values), na = as_vector(which(missing) - 1)),
    encoded[setdiff(names(encoded), "values")]
  )
}

# NaN is a number to R and crosses as one
is_missing <- function(values) {
  is.na(values) & !is.nan(values)
}

#' Keep reticulate from turning vectors of length 1 into scalars
#' @noRd
as_vector <- function(x) {
  x <- unname(x)
  if (length(x) > 1) x else as.list(x)
}

encode_factor <- function(x) {
  # NA can also be a level
  x <- factor(x, levels = levels(x)[!is.na(levels(x))], ordered = is.ordered(x))
  list(
    values = as.double(x),
    levels = as_vector(enc2utf8(levels(x))),
    ordered = is.ordered(x)
  )
}

encode_string <- function(x) {
  x <- enc2utf8(as.vector(x))
  levels <- unique(x[!is.na(x)])
  if (!all(validUTF8(levels))) {
    return(NULL)
  }
  list(values = as.double(match(x, levels, incomparables = NA)), levels = as_vector(levels))
}

encode_date <- function(x) {
  day <- as.POSIXlt(x)
  year <- day$year + 1900
  # Python's dates end there
  if (any(year < 1 | year > 9999, na.rm = TRUE)) {
    return(NULL)
  }
  text <- sprintf("%04d-%02d-%02d", as.integer(year), day$mon + 1L, day$mday)
  list(values = replace(text, is.na(x), NA))
}

zone_name <- function(tzone) {
  zone <- if (is.null(tzone) || !nzchar(tzone[[1]])) suppressWarnings(Sys.timezone()) else tzone[[1]]
  if (isTRUE(zone %in% OlsonNames())) zone else "UTC"
}

encode_integer64 <- function(x) {
  number <- decode_integer64(x)
  if (all(abs(number) <= 2^53, na.rm = TRUE)) list(values = number)
}

#' The numbers in a bit64::integer64, whose bits R holds as if they were doubles
#' @noRd
decode_integer64 <- function(x) {
  words <- readBin(
    writeBin(as.double(unclass(x)), raw(), endian = "little"),
    "integer", 2 * length(x),
    endian = "little"
  )
  # the smallest integer, which is what NA is in an integer64, reads as NA
  low <- as.double(words[c(TRUE, FALSE)])
  high <- as.double(words[c(FALSE, TRUE)])
  low[is.na(low)] <- -2^31
  high * 2^32 + ifelse(low < 0, low + 2^32, low)
}

#' The tibble that nested lists in protocol form describe
#' @noRd
decode_table <- function(table) {
  columns <- lapply(table$columns, decode_column)
  names(columns) <- vapply(table$columns, function(column) column$name, "")
  tibble::new_tibble(columns, nrow = as.integer(table$nrow))
}

decode_column <- function(column) {
  missing <- as.double(column$na) + 1
  if (column$type == "date") {
    # an absent day reads as NA
    return(as.Date(replace(as.character(column$values), missing, NA), format = "%Y-%m-%d"))
  }
  values <- replace(as.double(column$values), missing, NA)
  switch(column$type,
    double = values,
    integer = as.integer(values),
    logical = as.logical(values),
    string = as.character(column$levels)[values],
    factor = factor(
      as.character(column$levels)[values],
      levels = as.character(column$levels), ordered = isTRUE(column$ordered)
    ),
    datetime = .POSIXct(values, tz = if (column$tz %in% OlsonNames()) column$tz else "UTC"),
    abort_spicestat("column", paste0("unknown column type '", column$type, "'."))
  )
}
