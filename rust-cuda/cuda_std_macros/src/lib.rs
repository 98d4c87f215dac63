//! The attribute `#[kernel]`, for use as `cuda_std::kernel`.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ItemFn, ReturnType, Signature, Token};

/// Makes a function a kernel: an entry point of the PTX under its own name where the target is
/// `nvptx64`, and elsewhere the same function for `cuda_std::emulator`.
///
/// The function is `unsafe`, because nobody checks what a launch passes to it; it returns nothing,
/// and has neither generic parameters nor an ABI or an export name of its own.
///
/// `#[launch_bounds(threads, blocks)]` below it, constant expressions both, promises that no thread
/// block of a launch has more than so many threads, and asks for so few registers that a
/// multiprocessor has room for so many thread blocks: the PTX directives `.maxntid` and
/// `.minnctapersm`, which `cuda_builder` puts where they belong. Within these bounds the assembler
/// takes as many registers as it can use.
///
/// # Errors
///
/// Anything else does not compile, with the reason at the offending part.
#[proc_macro_attribute]
pub fn kernel(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(
    arguments: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[kernel]` takes no arguments"));
    }
    let mut function: ItemFn = syn::parse2(item)?;
    check(&function.sig)?;
    if let Some([threads, blocks]) = take_launch_bounds(&mut function)? {
        let note = syn::parse_quote! {
            ::cuda_std::thread::note_launch_bounds::<{ #threads }, { #blocks }>();
        };
        function.block.stmts.insert(0, note);
    }
    let mut entry = function.clone();
    entry.sig.abi = Some(syn::parse_quote!(extern "ptx-kernel"));
    Ok(quote! {
        #[cfg(target_arch = "nvptx64")]
        #[unsafe(no_mangle)]
        #entry

        #[cfg(not(target_arch = "nvptx64"))]
        #function
    })
}

/// Takes the attribute `launch_bounds` away; returns the threads and the thread blocks that it says.
fn take_launch_bounds(function: &mut ItemFn) -> syn::Result<Option<[Expr; 2]>> {
    let is_bounds = |attribute: &syn::Attribute| attribute.path().is_ident("launch_bounds");
    let Some(at) = function.attrs.iter().position(is_bounds) else { return Ok(None) };
    let attribute = function.attrs.remove(at);
    if let Some(second) = function.attrs.iter().find(|attribute| is_bounds(attribute)) {
        return Err(Error::new_spanned(second, "a kernel has one `#[launch_bounds]`"));
    }
    let bounds = attribute.parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated)?;
    let bounds = <[Expr; 2]>::try_from(bounds.into_iter().collect::<Vec<_>>()).map_err(|_| {
        let message = "say the most threads of a thread block, and how many thread blocks a \
                       multiprocessor shall have room for: `#[launch_bounds(256, 4)]`";
        Error::new_spanned(&attribute, message)
    })?;
    Ok(Some(bounds))
}

fn check(signature: &Signature) -> syn::Result<()> {
    if signature.unsafety.is_none() {
        let message = "a kernel must be an `unsafe fn`: nobody checks what a launch passes to it";
        return Err(Error::new_spanned(signature.fn_token, message));
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        let message = "a kernel cannot be generic: it is exported under one name; \
                       call a generic function from a kernel for each of its types";
        return Err(Error::new_spanned(&signature.ident, message));
    }
    if let ReturnType::Type(..) = signature.output {
        let message = "a kernel returns nothing: write results to memory";
        return Err(Error::new_spanned(&signature.output, message));
    }
    if let Some(constness) = &signature.constness {
        return Err(Error::new_spanned(constness, "a kernel cannot be `const`"));
    }
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(asyncness, "a kernel cannot be `async`"));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(abi, "`#[kernel]` chooses the ABI itself: leave it out"));
    }
    if let Some(receiver) = signature.receiver() {
        return Err(Error::new_spanned(receiver, "a kernel is a free function, without `self`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(item: proc_macro2::TokenStream) -> String {
        expand(quote!(), item).expect_err("must not expand").to_string()
    }

    #[test]
    fn both_forms_keep_attributes_and_body() {
        let item = quote! { #[doc = "text"] pub unsafe fn copy(from: *const u32) { body(from) } };
        let text = expand(quote!(), item).unwrap().to_string();
        assert_eq!(text.matches("doc = \"text\"").count(), 2);
        assert_eq!(text.matches("body (from)").count(), 2);
        assert_eq!(text.matches("extern \"ptx-kernel\" fn copy").count(), 1);
        assert_eq!(text.matches("pub unsafe fn copy").count(), 1);
        assert_eq!(text.matches("no_mangle").count(), 1);
    }

    #[test]
    fn launch_bounds_are_noted_at_the_beginning() {
        let item = quote! { #[launch_bounds(THREADS, 4)] unsafe fn k() { body() } };
        let text = expand(quote!(), item).unwrap().to_string();
        let note = ":: cuda_std :: thread :: note_launch_bounds :: < { THREADS } , { 4 } > () ;";
        assert_eq!(text.matches(note).count(), 2, "{text}");
        assert!(!text.contains("# [launch_bounds"));
        assert!(message(quote! { #[launch_bounds(256)] unsafe fn k() {} }).contains("(256, 4)"));
        let twice = quote! { #[launch_bounds(1, 2)] #[launch_bounds(1, 2)] unsafe fn k() {} };
        assert!(message(twice).contains("one `#[launch_bounds]`"));
    }

    #[test]
    fn what_cannot_be_a_kernel_is_refused_with_the_reason() {
        assert!(message(quote! { fn k() {} }).contains("unsafe fn"));
        assert!(message(quote! { unsafe fn k<T>() {} }).contains("generic"));
        assert!(message(quote! { unsafe fn k() where u8: Copy {} }).contains("generic"));
        assert!(message(quote! { unsafe fn k() -> u32 { 0 } }).contains("returns nothing"));
        assert!(message(quote! { const unsafe fn k() {} }).contains("const"));
        assert!(message(quote! { async unsafe fn k() {} }).contains("async"));
        assert!(message(quote! { unsafe extern "C" fn k() {} }).contains("ABI"));
        assert!(message(quote! { unsafe fn k(self) {} }).contains("self"));
        let arguments = expand(quote!(fast), quote! { unsafe fn k() {} });
        assert!(arguments.expect_err("must not expand").to_string().contains("no arguments"));
    }
}
