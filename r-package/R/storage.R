#' Save a fit as a folder, and load one
#'
#' The folder is the same as the one that Python's `SpiceFit.save` writes, so
#' that a fit can go from R to Python and back. For use in R alone,
#' [saveRDS()] does as well.
#'
#' @param fit A [spice_fit()].
#' @param path Path of the folder. An existing one is replaced only if it is
#'   empty or a fit folder.
#' @return `spice_save()` returns `path`, invisibly, and `spice_load()` a
#'   [spice_fit()]. Loading needs Python, saving does not.
#' @export
#' @examples
#' folder <- tempfile()
#' spice_save(example_fit, folder)
#' list.files(folder)
#'
#' \donttest{
#' if (spicestat_available()) spice_load(folder)
#' }
spice_save <- function(fit, path) {
  call <- rlang::current_env()
  check_fit(fit, call)
  check_replaceable(path, call)
  # all or nothing: a full disk leaves what was there before
  partial <- paste0(sub("[/\\\\]+$", "", path), ".partial")
  on.exit(unlink(partial, recursive = TRUE))
  written <- tryCatch(
    {
      write_files(fit$files, partial)
      unlink(path, recursive = TRUE)
      file.rename(partial, path)
    },
    error = function(error) FALSE, warning = function(warning) FALSE
  )
  if (!written) {
    abort_spicestat("storage", paste0("cannot write '", path, "'. Check rights and free space."))
  }
  invisible(path)
}

manifest_file <- "fit.json"

check_replaceable <- function(path, call) {
  if (!rlang::is_string(path)) {
    abort_spicestat("storage", "`path` must be the path of a folder.", call = call)
  }
  fit_folder <- file.exists(file.path(path, manifest_file))
  if (file.exists(path) && !fit_folder && (!dir.exists(path) || length(dir(path)) > 0)) {
    abort_spicestat(
      "storage", paste0("'", path, "' exists and is no fit folder. Choose another or empty it."),
      call = call
    )
  }
}

write_files <- function(files, folder) {
  unlink(folder, recursive = TRUE)
  for (name in names(files)) {
    file <- file.path(folder, name)
    if (!dir.exists(dirname(file))) dir.create(dirname(file), recursive = TRUE)
    writeBin(files[[name]], file)
  }
}

#' @rdname spice_save
#' @export
spice_load <- function(path) {
  if (!rlang::is_string(path) || !dir.exists(path)) {
    abort_spicestat("storage", paste0("there is no folder '", format(path)[[1]], "'."))
  }
  path <- normalizePath(path)
  new_spice_fit(call_bridge("load", path), read_folder(path))
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
