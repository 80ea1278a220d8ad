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

warn_spicestat <- function(code, message) {
  rlang::warn(message, class = c(paste0("spicestat_warning_", code), "spicestat_warning"))
}

#' The value in an envelope of `spicestat.r.bridge`, or its error signalled
#' @noRd
open_envelope <- function(envelope, call) {
  for (warning in envelope$warnings) {
    warn_spicestat(warning$code, show_dots(warning$message))
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
    envelope$code, c(show_dots(envelope$message), advice),
    traceback = envelope$traceback, call = call
  )
}
