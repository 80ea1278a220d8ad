# Conditions carry the engine's short code in their class.

abort_spicestat <- function(code, message, ..., call = rlang::caller_env()) {
  rlang::abort(
    message,
    class = c(paste0("spicestat_error_", code), "spicestat_error"),
    code = code,
    ...,
    call = call,
    # messages quote the user's data, which may contain braces
    use_cli_format = FALSE
  )
}

#' Refuse arguments that a method does not have, with the one that was probably meant
#'
#' @param ... The method's dots.
#' @param ignored Arguments that other packages pass to every model, and that change nothing here.
#' @param remedies What to do instead, by argument.
#' @noRd
check_dots <- function(..., ignored = character(), remedies = character(), call = rlang::caller_env()) {
  if (...length() == 0) {
    return(invisible())
  }
  given <- rlang::names2(match.call(expand.dots = FALSE)$...)
  given <- setdiff(given, ignored)
  if (length(given) == 0) {
    return(invisible())
  }
  known <- setdiff(names(formals(sys.function(sys.parent()))), "...")
  name <- given[[1]]
  similar <- known[utils::adist(name, known, ignore.case = TRUE) <= 3 & nchar(name) > 3]
  remedy <- if (name %in% names(remedies)) {
    remedies[[name]]
  } else if (length(similar) > 0) {
    paste0("Did you mean `", similar[[which.min(utils::adist(name, similar))]], "`?")
  }
  abort_spicestat("config", c(
    if (nzchar(name)) paste0("there is no argument `", name, "`.") else "there are too many arguments.",
    i = paste0("Allowed: ", paste(known, collapse = ", "), "."), i = remedy
  ), call = call)
}

warn_spicestat <- function(code, message) {
  rlang::warn(message, class = c(paste0("spicestat_warning_", code), "spicestat_warning"))
}

#' The value in an envelope of `spicestat.r.bridge`, or its error signalled
#' @noRd
open_envelope <- function(envelope, call) {
  for (warning in envelope$warnings) {
    warn_spicestat(warning$code, r_remedies(warning$message))
  }
  if (isTRUE(envelope$ok)) {
    return(envelope$value)
  }
  if (envelope$code == "interrupt") {
    rlang::interrupt()
  }
  advice <- switch(envelope$code,
    install = c(i = "Run install_spicestat(), then restart R. spicestat_sitrep() shows what is there."),
    internal = c(i = "This is a bug in spicestat. rlang::last_error()$traceback says where.")
  )
  abort_spicestat(
    envelope$code, c(r_remedies(envelope$message), advice),
    traceback = envelope$traceback, call = call
  )
}
