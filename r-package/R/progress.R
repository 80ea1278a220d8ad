#' A progress callback for the engine: one cli bar per stage
#' @noRd
new_progress <- function(show, envir = rlang::caller_env()) {
  if (!isTRUE(show)) {
    return(NULL)
  }
  stage_now <- ""
  bar <- NULL
  labels <- c(
    rnn = "Training the network", equations = "Finding equations", refit = "Estimating",
    group = "Fitting the group model", ladder = "Predicting left-out choices", card = "Checking the study",
    report = "Writing the report"
  )
  function(stage, done, total, message) {
    if (!identical(stage, stage_now)) {
      if (!is.null(bar)) cli::cli_progress_done(id = bar, .envir = envir)
      label <- if (stage %in% names(labels)) labels[[stage]] else stage
      bar <<- cli::cli_progress_bar(
        format = paste0(label, " {cli::pb_bar} {cli::pb_percent} {cli::pb_eta_str} {cli::pb_status}"),
        total = max(total, 1), .envir = envir
      )
      stage_now <<- stage
    }
    cli::cli_progress_update(set = done, status = gsub("[{}]", "", message), id = bar, .envir = envir)
  }
}
