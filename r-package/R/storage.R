#' Save a fit as a folder, and load one
#'
#' The folder is the same as the one that Python's `SpiceFit.save` writes, so
#' that a fit can go from R to Python and back. For use in R alone,
#' [saveRDS()] does as well.
#'
#' @param fit A [spice_fit()].
#' @param path Path of the folder. An older fit in it is replaced, and other
#'   files stay; a folder with anything else but a fit is refused.
#' @return `spice_save()` returns `path`, invisibly, and `spice_load()` a
#'   [spice_fit()]. Both need Python.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   folder <- tempfile()
#'   spice_save(example_fit, folder)
#'   list.files(folder)
#'   spice_load(folder)
#' }
#' }
spice_save <- function(fit, path) {
  call <- rlang::current_env()
  check_fit(fit, call)
  check_path(path, call)
  with_fit_folder(fit, function(folder) call_bridge("copy_fit", folder, full_path(path), call = call))
  invisible(path)
}

#' @rdname spice_save
#' @export
spice_load <- function(path) {
  call <- rlang::current_env()
  check_path(path, call)
  fit_in_folder(function(folder) {
    call_bridge("copy_fit", full_path(path), folder, call = call)
    call_bridge("load", folder, call = call)
  })
}

check_path <- function(path, call) {
  if (!rlang::is_string(path) || !nzchar(path)) {
    abort_spicestat("storage", "`path` must be the path of a folder.", call = call)
  }
}

#' The engine's process may have another working folder, and knows no `~` of R
#' @noRd
full_path <- function(path) {
  absolute <- grepl("^([/~]|[A-Za-z]:|\\\\)", path)
  path.expand(enc2utf8(if (absolute) path else file.path(getwd(), path)))
}

#' Write the files of a fit into a new folder
#'
#' A fit may come from a stranger's `.rds`, so that no name may lead elsewhere.
#' @noRd
write_files <- function(files, folder) {
  parts <- strsplit(names(files), "[/\\\\]")
  if (any(vapply(parts, function(part) length(part) == 0 || any(grepl("^\\.|:|^$", part)), NA))) {
    abort_spicestat("storage", "the fit is damaged: a file in it has an impossible name.")
  }
  for (name in names(files)) {
    file <- file.path(folder, name)
    if (!dir.exists(dirname(file))) dir.create(dirname(file), recursive = TRUE)
    writeBin(files[[name]], file)
  }
}

check_fit <- function(fit, call) {
  if (!inherits(fit, "spice_fit")) {
    abort_spicestat(
      "config", paste0("`fit` must come from spice_fit(), not be a ", class(fit)[[1]], "."),
      call = call
    )
  }
}

#' All files below a folder as raw vectors, named by their relative paths
#' @noRd
read_folder <- function(folder) {
  names <- list.files(folder, recursive = TRUE, all.files = TRUE)
  contents <- lapply(file.path(folder, names), function(file) readBin(file, "raw", file.size(file)))
  stats::setNames(contents, names)
}
